"""Folders made to hurt, or damaged: each is one sentence, soon, before anything of their size is made."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from data_prep.contract.settings import InputError
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import checkpoint_folder
from pipeline.conversion import agreement
from pipeline.conversion.imports import import_folder
from tests.pipeline.conversion import small

SECONDS = 10


def quiet(line: str) -> None:
    """What is said along the way."""


def refused(folder: Path, said: str) -> None:
    begun = time.process_time()
    with pytest.raises(InputError, match=said) as found:
        import_folder(folder, folder.with_name("out"), quiet)
    assert time.process_time() - begun < SECONDS
    assert "\n" not in str(found.value)
    assert not folder.with_name("out").exists()
    assert not list(folder.parent.glob(".out*"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("n_positions", value) for value in ("abc", 10**18, 0, -5, 16.0, True, [16])),
        *(("vocab_size", value) for value in (10**18, "64", -1, 64.0, None)),
        *(("n_embd", value) for value in (10**15, "8", 0, 8.5, [8])),
        *(("n_layer", value) for value in (10**8, 10**4 + 1, 2000, 0, -1, "1", True)),
        *(("n_head", value) for value in (0, 3, "2", 10**9)),
        *(("layer_norm_epsilon", value) for value in ("x", -1, 0, [])),
        *(("activation_function", value) for value in (5, "silly", [], {})),
        *(("eos_token_id", value) for value in ("x", [0, "x"], {"a": 1}, 1.5)),
        ("bos_token_id", "x"),
        ("tie_word_embeddings", "yes"),
        ("resid_pdrop", 5.0),
        ("quantization_config", {"bits": 4}),
        ("transformers_weights", "other.safetensors"),
        ("pruned_heads", {"0": [1]}),
        *(("model_type", value) for value in (5, None, [], "mystery")),
    ],
)
def test_a_value_of_the_wrong_kind_or_size_is_named(key: str, value: Any, tmp_path: Path) -> None:
    shown = "missing|64 of the tokenizer|0" if value is None and key == "vocab_size" else repr(value)[:20]
    shown = shown.replace("[", r"\[").replace("{", r"\{").replace("(", r"\(")
    refused(
        small.folder(tmp_path / "model", **{key: value}), f"{key}.*({shown})|not divisible|{key} is missing"
    )


@pytest.mark.parametrize("value", ["Infinity", "-Infinity", "NaN"])
def test_a_number_that_is_none_is_named(value: str, tmp_path: Path) -> None:
    path = small.folder(tmp_path / "model") / "config.json"
    path.write_text(path.read_text().replace('"n_positions": 16', f'"n_positions": {value}'))
    refused(
        tmp_path / "model", rf"config\.json: .*n_positions is {value[:4].lower()[:3]}|-inf|n_positions is nan"
    )


DEEP = "[" * 100_000 + "]" * 100_000
JUNK = ["", "{", "[]", "5", '"x"', "\x00", DEEP, '{"a": ' + DEEP + "}", "9" * 10_000]
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")


@pytest.mark.parametrize("content", JUNK, ids=range(len(JUNK)))
@pytest.mark.parametrize("name", [*FILES, small.INDEX, "special_tokens_map.json", "added_tokens.json"])
def test_a_file_that_is_no_object_is_named(name: str, content: str, tmp_path: Path) -> None:
    folder = small.indexed(tmp_path / "m", {}) if name == small.INDEX else small.folder(tmp_path / "m")
    (folder / name).write_text(content)
    refused(folder, rf"{name}")


PLACES: dict[str, Any] = {
    "a pickle outside": "../somewhere.bin",
    "a pickle inside": "pytorch_model.bin",
    "a device": "/dev/zero",
    "a file that is not there": "gone.safetensors",
    "a folder": "folder.safetensors",
    "a link to a device": "device.safetensors",
    "a file of a folder": "inside/a.safetensors",
    "one outside": "../out.safetensors",
    "a control character": "a\n.safetensors",
    "a number": 5,
    "nothing": None,
    "a list": [small.SHARD],
    "no name": "",
}


@pytest.mark.parametrize("tensor", [small.MASK, "transformer.wte.weight"])
@pytest.mark.parametrize("kind", PLACES)
def test_every_place_in_an_index_is_a_file_of_the_folder(kind: str, tensor: str, tmp_path: Path) -> None:
    folder = small.indexed(tmp_path / "model", {tensor: PLACES[kind]})
    torch.save({}, tmp_path / "somewhere.bin")
    torch.save({}, folder / "pytorch_model.bin")
    for place in (tmp_path / "out.safetensors", folder / "inside" / "a.safetensors"):
        place.parent.mkdir(exist_ok=True)
        save_file({tensor: torch.zeros(1)}, place)
    (folder / "folder.safetensors").mkdir()
    (folder / "device.safetensors").symlink_to("/dev/zero")
    before = set(tmp_path.iterdir())
    begun = time.process_time()
    with pytest.raises(InputError):
        import_folder(folder, tmp_path / "out", quiet)
    assert time.process_time() - begun < SECONDS
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("metadata", [None, 5, "x"])
def test_an_index_without_metadata_is_refused_as_transformers_does(metadata: Any, tmp_path: Path) -> None:
    refused(small.indexed(tmp_path / "model", {}, metadata), r"index\.json: metadata is missing")


def test_of_two_files_of_weights_that_of_transformers_counts(tmp_path: Path) -> None:
    folder = small.folder(tmp_path / "model")
    right = load_file(folder / small.SINGLE)
    stale = {name: tensor + 0.5 for name, tensor in right.items()}
    save_file(stale, folder / small.SHARD, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(stale, small.SHARD)}
    (folder / small.INDEX).write_text(json.dumps(index))
    lines: list[str] = []
    assert import_folder(folder, tmp_path / "run", lines.append)["compared_with"] == "transformers"
    assert f"{small.SINGLE} is read" in lines[0]
    assert small.INDEX in lines[0]
    found = Checkpoint(checkpoint_folder(tmp_path / "run", 0)).weight("words.table.weight")
    assert torch.equal(found[: small.ROWS], right["transformer.wte.weight"])


def test_a_tensor_of_two_names_or_in_two_files_is_refused(tmp_path: Path) -> None:
    def twice(tensors: dict[str, Any]) -> None:
        tensors["wte.weight"] = tensors["transformer.wte.weight"] + 1

    refused(small.with_tensors(tmp_path / "names", twice), r"transformer\.wte\.weight and wte\.weight")
    folder = small.indexed(tmp_path / "files", {"transformer.wte.weight": "b.safetensors"})
    save_file({"transformer.wte.weight": torch.zeros(small.ROWS, small.HIDDEN)}, folder / "b.safetensors")
    refused(folder, r"transformer\.wte\.weight is in it and, by the index, in b\.safetensors")
    folder = small.indexed(tmp_path / "elsewhere", {"transformer.wte.weight": "b.safetensors"})
    save_file({"x": torch.zeros(1)}, folder / "b.safetensors")
    refused(folder, r"transformer\.wte\.weight is")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: it["transformer.wte.weight"].fill_(float("nan")), "no finite numbers"),
        (lambda it: it["transformer.ln_f.bias"].fill_(float("inf")), "no finite numbers"),
        (lambda it: it.update({"transformer.ln_f.bias": torch.zeros(8, dtype=torch.int8)}), "of type I8"),
        (lambda it: it.pop("transformer.ln_f.bias"), "ln_f.bias is missing"),
        (lambda it: it.update({"transformer.ln_f.bias": torch.zeros(9)}), "has shape"),
        (lambda it: it.update({"score.weight": torch.zeros(9)}), "has no place"),
    ],
)
def test_a_tensor_that_is_no_weight_is_named(change: Any, said: str, tmp_path: Path) -> None:
    refused(small.with_tensors(tmp_path / "model", change), said)


def test_an_output_head_that_is_missing_is_not_taken_for_the_word_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without transformers, which would draw one, nothing but config.json tells."""
    monkeypatch.setattr(agreement, "theirs", lambda *given: None)
    refused(small.folder(tmp_path / "model", tie_word_embeddings=False), r"lm_head\.weight is missing")


def test_transformers_is_shown_what_was_read_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small.folder(
        tmp_path / "model",
        auto_map={"AutoModelForCausalLM": "evil.Model"},
        attn_implementation="kernels-community/evil",
        _attn_implementation="kernels-community/evil",
        torch_dtype="float16",
    )
    (folder / "evil.py").write_text("raise SystemExit('run')")
    (folder / "pytorch_model.bin").write_bytes(b"junk")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "../evil", "peft_type": "LORA"}')
    seen: list[list[str]] = []
    show = agreement.shown

    def shown(place: Path, *given: Any) -> None:
        show(place, *given)
        seen.append(sorted(path.name for path in place.iterdir()))
        kept = json.loads((place / "config.json").read_text())
        assert not {"auto_map", "attn_implementation", "_attn_implementation", "torch_dtype"} & kept.keys()

    monkeypatch.setattr(agreement, "shown", shown)
    assert import_folder(folder, tmp_path / "out", quiet)["compared_with"] == "transformers"
    assert seen == [["config.json", "model.safetensors"]]


def test_what_transformers_cannot_load_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "ASIDE", (*agreement.ASIDE, "n_head"))
    refused(small.folder(tmp_path / "model"), "transformers cannot load it")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small.indexed(tmp_path_factory.mktemp("good") / "model", {})
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": "<|endoftext|>", "add_bos_token": False, "chat_template": "{{ 1 }}"})
    )
    (folder / "generation_config.json").write_text('{"eos_token_id": [0, 5], "forced_bos_token_id": null}')
    return folder


DAMAGE: dict[str, Callable[[bytes, int, int], bytes]] = {
    "flipped": lambda it, at, by: it[:at] + bytes([it[at] ^ (1 << by % 8)]) + it[at + 1 :],
    "cut": lambda it, at, by: it[:at],
    "lost": lambda it, at, by: it[:at] + it[at + 1 + by :],
    "swapped": lambda it, at, by: it[:at] + it[at + by : at + 2 * by] + it[at : at + by] + it[at + 2 * by :],
    "put in twice": lambda it, at, by: it[: at + by] + it[at:],
}


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    name=st.sampled_from([*FILES, small.INDEX, small.SHARD]),
    kind=st.sampled_from(sorted(DAMAGE)),
    where=st.floats(0, 1, exclude_max=True),
    by=st.integers(1, 40),
    begin=st.booleans(),
)
def test_a_damaged_folder_is_one_sentence_or_read_as_it_says(
    good: Path,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    kind: str,
    where: float,
    by: int,
    begin: bool,
) -> None:
    """Headers and JSON are what most damage is aimed at: `begin` keeps to the first 2,000 bytes."""
    place = tmp_path_factory.mktemp("damaged")
    folder = place / "model"
    folder.mkdir()
    for path in good.iterdir():
        (folder / path.name).symlink_to(path)
    content = (good / name).read_bytes()
    at = int(where * (min(len(content), 2000) if begin else len(content)))
    (folder / name).unlink()
    (folder / name).write_bytes(DAMAGE[kind](content, at, by))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, "theirs", lambda *given: None)
        begun = time.process_time()
        try:
            import_folder(folder, place / "run", quiet)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either is right
            assert not (place / "run").exists()
        else:
            held = load_file(folder / small.SHARD)
            found = Checkpoint(checkpoint_folder(place / "run", 0)).weight("norm.bias")
            assert torch.equal(found, held["transformer.ln_f.bias"])
        assert time.process_time() - begun < SECONDS
