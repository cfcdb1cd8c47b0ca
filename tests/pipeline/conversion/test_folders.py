"""A checkpoint to a Hugging Face folder and back: the same numbers, the same logits, or nothing at all."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import transformers
from safetensors.torch import load_file, save_file

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import checkpoint_folder, read_config
from pipeline.config import ModelConfig, PipelineConfig
from pipeline.config.presets import PRESETS
from pipeline.conversion import agreement, files, tokenizer_check
from pipeline.conversion.choose import family_of
from pipeline.conversion.export import export
from pipeline.conversion.family import Facts, differences
from pipeline.conversion.imports import import_folder
from pipeline.conversion.layouts import TRANSPOSED, behind_first, first_rows, pieces, rows_before
from pipeline.conversion.links import TOKEN_ROWS
from pipeline.generation.load import load_model
from pipeline.prompting.text import prompt_ids, readable, stop_ids
from tests.pipeline import tiny
from tests.pipeline.conversion import references as ref
from tests.pipeline.conversion.folders import run_folder

NAMES = [name for name in ref.MODELS if name != "gpt-neo"]


@pytest.fixture(autouse=True, scope="module")
def _short_sample() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer_check, "SAMPLE_CHARACTERS", 10_000)
        yield


def quiet(line: str) -> None:
    """What is said along the way."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 as a folder."""
    folder = tmp_path_factory.mktemp("gpt2")
    export(run_folder(folder / "run", "gpt2"), folder / "model", quiet)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back_is_the_same_model(name: str, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", name)
    shown = export(run, tmp_path / "model", quiet)
    assert shown["compared_with"] == "transformers"
    assert shown["difference"] < 1e-5
    shown = import_folder(tmp_path / "model", tmp_path / "back", quiet)
    assert shown["compared_with"] == "transformers"
    one, other = read_config(run), read_config(tmp_path / "back")
    facts = Facts(200, positions=ref.POSITIONS)
    assert not differences(one.model, other.model, facts)
    assert one.objective == other.objective
    if one.model.positions == "learned":
        assert one.position_table == other.position_table
    was, now = (Checkpoint(checkpoint_folder(path, 0)) for path in (run, tmp_path / "back"))
    assert was.index.tensors.keys() == now.index.tensors.keys()
    tokens = load_model(run).vocabulary.size
    for tensor in was.index.tensors:
        before, after = was.weight(tensor), now.weight(tensor)
        if tensor in TOKEN_ROWS:
            assert not after[tokens:].any()
            before, after = before[:tokens], after[:tokens]
        assert torch.equal(before, after), tensor


KINDS = {
    **dict.fromkeys(("llama2", "llama3", "llama3.1", "llama3.2", "smollm2"), "llama"),
    **dict.fromkeys(("mt", "gato"), "gpt2"),  # of an agent, the decoder alone
    "gpt1": "opt",
    "pythia": "gpt_neox",
    "qwen2.5": "qwen2",
    "gemma3": "gemma3_text",
    "transformer": "marian",
    "qwen3 experts": "qwen3_moe",
    "switch experts": "switch_transformers",
    **dict.fromkeys(("electra-base", "electra-large"), "bert"),
}
"""What transformers calls a family of presets, where it is not the same.

Without a discriminator, ELECTRA's base and large models are BERT's."""


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_of_its_family_or_refused(name: str) -> None:
    model = ModelConfig(preset=name)
    facts = Facts(1000, pad=0, bos=2, eos=3, positions=model.max_positions or 512)
    start = name.split("-")[0]
    known = (name, start) if model.experts is None else (f"{start} experts",)
    kind = next((KINDS[one] for one in known if one in KINDS), start)
    gated = name == "switch-xxl-128"  # which transformers' class cannot be
    if gated or kind in ("gpt3", "palm", "minerva", "gopher", "chinchilla", "galactica", "clip", "parti"):
        with pytest.raises(InputError, match="no architecture of transformers is this model"):
            family_of(model, facts)
        return
    family = family_of(model, facts)
    assert family.model_type == kind
    transformers.AutoConfig.for_model(**family.write(model, facts))


def test_auto_classes_load_what_is_written(exported: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(exported / "model")
    assert type(model).__name__ == "GPT2LMHeadModel"
    assert model.config.eos_token_id == model.generation_config.eos_token_id == 3
    assert {path.name for path in (exported / "model").iterdir()} >= {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        TOKENIZER,
    }
    text = "adds the number of a list."
    tokens = transformers.AutoTokenizer.from_pretrained(exported / "model")(text, return_tensors="pt")
    trained = load_model(exported / "run")
    assert tokens["input_ids"][0].tolist() == trained.vocabulary.encode(text)
    found = model(tokens["input_ids"]).logits
    wanted = trained.logits(tokens["input_ids"])[..., : trained.vocabulary.size]
    ref.close(found.detach(), wanted, 1e-5, "logits")


def test_large_models_are_several_files(tmp_path: Path) -> None:
    tensors = {f"t{i}": torch.full((100,), float(i)) for i in range(5)}
    files.write_tensors(tmp_path, tensors.items(), limit=900)
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        f"model-{i:05d}-of-00003.safetensors" for i in (1, 2, 3)
    ]
    index = json.loads((tmp_path / files.INDEX).read_text())
    assert index["metadata"]["total_size"] == 2000
    found = files.Tensors(tmp_path)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert index["weight_map"]["t4"] == "model-00003-of-00003.safetensors"


def _changed(exported: Path, out: Path, change: Any = None, **config: Any) -> Path:
    """A copy of the folder whose tensors or configuration are others."""
    out.mkdir()
    tensors = load_file(exported / "model" / files.SINGLE)
    if change:
        change(tensors)
    save_file({name: one.contiguous() for name, one in tensors.items()}, out / files.SINGLE)
    written = json.loads((exported / "model" / files.CONFIG).read_text()) | config
    (out / files.CONFIG).write_text(json.dumps(written))
    (out / TOKENIZER).write_bytes((exported / "model" / TOKENIZER).read_bytes())
    return out


QKV = "transformer.h.1.attn.c_attn.weight"


@pytest.mark.parametrize(
    ("change", "config", "said"),
    [
        (None, {"model_type": "mamba"}, "model_type 'mamba' is not supported; gpt2, opt"),
        (None, {"add_cross_attention": True}, "add_cross_attention True is not supported"),
        (None, {"activation_function": "silu"}, "activation_function 'silu' is not supported"),
        (None, {"n_layer": 3}, r"tensor transformer\.h\.2\..* is missing"),
        (None, {"vocab_size": 50}, "vocab_size 50 is less than"),
        (lambda t: t.pop(QKV), {}, f"tensor {QKV} is missing"),
        (lambda t: t.update({QKV: t[QKV][:, :-1]}), {}, rf"{QKV} has shape \[64, 191\] .* \[64, 192\]"),
        (lambda t: t.update(extra=torch.ones(2)), {}, "tensor transformer.extra has no place in a gpt2"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(
    exported: Path, tmp_path: Path, change: Any, config: dict[str, Any], said: str
) -> None:
    folder = _changed(exported, tmp_path / "model", change, **config)
    with pytest.raises(InputError, match=said):
        import_folder(folder, tmp_path / "run", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_names_of_old_folders_are_understood(exported: Path, tmp_path: Path) -> None:
    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["h.0.attn.bias"] = torch.ones(1, 1, 4, 4).tril()

    folder = _changed(exported, tmp_path / "model", rename)
    assert import_folder(folder, tmp_path / "run", quiet)["compared_with"] == "transformers"


def foreign_tokenizer(path: Path) -> Vocabulary:
    """A SentencePiece model from elsewhere: <unk>, <s> and </s> alone, as Llama's."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(tiny.sentences(300)),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    return Vocabulary(path)


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
FOREIGN: dict[str, Any] = {
    "llama": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=70,
            intermediate_size=48,
            num_key_value_heads=2,
            max_position_embeddings=40,
            rope_theta=500.0,
            **SMALL,
        )
    ),
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=70, n_embd=32, n_layer=2, n_head=4, n_positions=40)
    ),
    "bert": lambda: transformers.BertForPreTraining(
        transformers.BertConfig(vocab_size=70, intermediate_size=48, max_position_embeddings=40, **SMALL)
    ),
    "t5-1.1": lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=70,
            d_model=32,
            d_kv=8,
            d_ff=48,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
        )
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_transformers_saved_is_imported(name: str, tmp_path: Path) -> None:
    """In bfloat16, with a tokenizer from elsewhere, of fewer tokens than the model has rows."""
    folder = tmp_path / "model"
    FOREIGN[name]().to(torch.bfloat16).save_pretrained(folder)
    vocabulary = foreign_tokenizer(folder / "spiece.model")
    lines: list[str] = []
    shown = import_folder(folder, tmp_path / "run", lines.append)
    assert shown["compared_with"] == "transformers"
    assert f"{70 - vocabulary.size} rows of the word table are of no token and are left out" in lines
    model = load_model(tmp_path / "run")
    assert model.vocabulary.size == vocabulary.size
    if name == "llama":
        [answer] = generate_texts(model, ["adds the number"])
        assert answer.startswith("adds the number")


def generate_texts(model: Any, prompts: list[str]) -> list[str]:
    """What a decoder goes on with, greedily."""
    found = []
    for text in prompts:
        ids = prompt_ids(model, text, chat=False)
        tokens = torch.tensor([ids])
        for _ in range(4):
            best = model.logits(tokens)[:, -1].argmax(-1, keepdim=True)
            assert int(best) < model.vocabulary.size
            tokens = torch.cat((tokens, best), 1)
        assert stop_ids(model.vocabulary) == {model.vocabulary.eos}
        found.append(readable(model, text, False, tokens[0, len(ids) :].tolist()))
    return found


def test_a_conversion_that_computes_something_else_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_folder(tmp_path / "run", "llama")
    wrong = replace(family_of(read_config(run).model, Facts(200)), table=_gate_and_up_swapped)
    monkeypatch.setattr("pipeline.conversion.export.family_of", lambda *_: wrong)
    monkeypatch.setattr("pipeline.conversion.reading.family_named", lambda *_: wrong)
    with pytest.raises(InputError, match="the logits of the two models differ"):
        export(run, tmp_path / "model", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def _gate_and_up_swapped(model: ModelConfig) -> Any:
    from pipeline.conversion.families.decoders import LLAMA_TABLE

    up = LLAMA_TABLE["blocks.*.mlp.up"]
    return LLAMA_TABLE | {"blocks.*.mlp.up": tuple(reversed(up))}


def test_without_transformers_what_is_written_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "find_spec", lambda name: None)
    lines: list[str] = []
    shown = export(run_folder(tmp_path / "run", "gpt2"), tmp_path / "model", lines.append)
    assert shown["compared_with"] == "read back"
    assert any("transformers is not installed" in line for line in lines)


def test_where_two_models_do_not_fit_the_numbers_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "fits", lambda parameters: False)
    shown = export(run_folder(tmp_path / "run", "gpt2"), tmp_path / "model", quiet)
    assert shown["compared_with"] == "numbers alone"


def test_a_model_that_transformers_has_not_is_refused_by_its_key() -> None:
    given = PipelineConfig(name="x", model=ModelConfig(preset="gpt2-tiny", local_window=4))
    with pytest.raises(InputError, match=r"the nearest, gpt2, has no model\.local_window 4"):
        family_of(given.model, Facts(300, positions=16))


def test_an_existing_folder_is_not_touched(exported: Path) -> None:
    with pytest.raises(InputError, match="is there already"):
        export(exported / "run", exported / "model", quiet)


def test_changes_of_layout() -> None:
    rows = torch.arange(6).unsqueeze(1)
    q, k = pieces(2, (2, 1)).out([rows])
    assert (q.flatten().tolist(), k.flatten().tolist()) == ([0, 1, 3, 4], [2, 5])
    for change, tensors in [
        (pieces(2, (2, 1)), [rows]),
        (behind_first(pieces(1, (1, 1))), [rows, rows + 10]),
        (rows_before(2), [rows]),
        (TRANSPOSED, [rows, rows.flatten()]),
    ]:
        for found, wanted in zip(change.back(change.out(tensors)), tensors, strict=True):
            assert torch.equal(found, wanted)
    assert first_rows(3, 8).out([rows])[0].flatten().tolist() == [0, 1, 2]
    assert first_rows(3, 8).back([rows[:3]])[0].flatten().tolist() == [0, 1, 2, 0, 0, 0, 0, 0]
