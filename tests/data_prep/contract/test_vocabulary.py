"""Tokenizers from elsewhere that are broken or made to hurt: one sentence, soon."""

import json
import os
import random
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from data_prep.contract.aside import held_back
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from tests.pipeline import tiny

END = "<|endoftext|>"


def published(folder: Path, act: Callable[[dict[str, Any]], Any] = lambda it: None) -> Path:
    """A byte-level tokenizer.json of single bytes, changed."""
    folder.mkdir(parents=True)
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE(vocab={END: 0} | {sign: i + 1 for i, sign in enumerate(signs)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([END])
    content = json.loads(tokenizer.to_str())
    act(content)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    return folder


def backtracking(content: dict[str, Any]) -> None:
    split = {"type": "Split", "pattern": {"Regex": "^(\\w+\\s?)*$"}, "behavior": "Isolated", "invert": False}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, content["pre_tokenizer"]]}


def test_a_pattern_that_backtracks_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The library panics at it, and would print that by itself."""
    vocabulary = Vocabulary(published(tmp_path / "slow", backtracking))
    assert vocabulary.encode("ab") == Vocabulary(published(tmp_path / "good")).encode("ab")
    for encode in (vocabulary.encode, vocabulary.encode_inside):
        with pytest.raises(InputError, match=r"slow: the library tokenizers fails"):
            encode("a" * 28 + "!")
    os.write(2, b"afterwards")
    assert capfd.readouterr().err == "afterwards"


def test_what_is_printed_while_all_is_well_comes_late_and_whole(capfd: pytest.CaptureFixture[str]) -> None:
    with held_back(), held_back():
        os.write(2, b"one ")
        if os.fork() == 0:
            os.write(2, b"child ")
            os._exit(0)
        os.wait()
    with pytest.raises(OSError, match="descriptor"), held_back():
        os.write(2, b"a panic") and os.write(-1, b"")
    assert capfd.readouterr().err == "child one "


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "ids that are words": lambda it: it["model"].update(vocab={"a": "b"}),
    "ids that are huge": lambda it: it["model"]["vocab"].update(zz=4_000_000_000),
    "ids below zero": lambda it: it["added_tokens"][0].update(id=-1),
    "no pieces": lambda it: it.update(model={"type": "BPE", "vocab": {}, "merges": []}, added_tokens=[]),
    "no model": lambda it: it.pop("model"),
    "added tokens that are words": lambda it: it.update(added_tokens=["a"]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_broken_tokenizer_json_is_one_sentence(kind: str, tmp_path: Path) -> None:
    begun = time.process_time()
    with pytest.raises(InputError, match=r"broken"):
        Vocabulary(published(tmp_path / "broken", WRONG[kind]))
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 99_999, b"\xff\xfe", b"[]", b'{"model": NaN}'])
def test_a_tokenizer_json_that_is_none(content: bytes, tmp_path: Path) -> None:
    (published(tmp_path / "broken") / "tokenizer.json").write_bytes(content)
    with pytest.raises(InputError, match=r"broken/tokenizer\.json"):
        Vocabulary(tmp_path / "broken")


def packed(path: Path, roles: str, tokenizer: bytes | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("roles.json", roles)
        if tokenizer is None:
            with archive.open("tokenizer.json", "w", force_zip64=True) as file:
                for _ in range(700):
                    file.write(bytes(1 << 20))
        else:
            archive.writestr("tokenizer.json", tokenizer)
    return path


READS = '{"reads": "tokenizer.json"}'


def test_an_archive_that_is_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = packed(tmp_path / "tokenizer.model", READS)
    begun = time.process_time()
    with pytest.raises(InputError, match=r"tokenizer\.model: a zip archive of more than"):
        Vocabulary(path)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    "roles",
    ["", "[]", '{"reads": "../x"}', '{"reads": "tokenizer.json", "before": [99999999]}',
     '{"reads": "tokenizer.json", "after": [-1]}', '{"reads": "tokenizer.json", "names": {"<eos>": 300}}'],
)  # fmt: skip
def test_an_archive_with_other_roles_is_one_sentence(roles: str, tmp_path: Path) -> None:
    content = (published(tmp_path / "good") / "tokenizer.json").read_bytes()
    with pytest.raises(InputError, match=r"tokenizer\.model: ") as found:
        Vocabulary(packed(tmp_path / "tokenizer.model", roles, content))
    assert "\n" not in str(found.value)


def test_an_archive_with_flipped_bytes_is_one_sentence_or_the_same_tokenizer(tmp_path: Path) -> None:
    good = Vocabulary(published(tmp_path / "good"))
    draw = random.Random(0)
    for number in range(200):
        content = bytearray(good.content)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path = tmp_path / f"{number}.model"
        path.write_bytes(content)
        try:
            found = Vocabulary(path)
        except InputError as error:
            assert str(path) in str(error), error  # noqa: PT017 - either is right
            continue
        assert found.encode("any text") == good.encode("any text")


def test_a_sentencepiece_model_that_is_cut_is_one_sentence(tmp_path: Path) -> None:
    content = tiny.vocabulary(tmp_path / "good.model").content
    for size in (0, 1, 10, len(content) // 2):
        (tmp_path / "cut.model").write_bytes(content[:size])
        with pytest.raises(InputError, match=r"cut\.model: "):
            Vocabulary(tmp_path / "cut.model")


def growing(content: dict[str, Any]) -> None:
    """Forty rules that double a text: one letter becomes a million million."""
    rule = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    content["normalizer"] = {"type": "Sequence", "normalizers": [rule] * 40}


def growing_back(content: dict[str, Any]) -> None:
    rule = {"type": "Replace", "pattern": {"Regex": "."}, "content": "a" * 100}
    content["decoder"] = {"type": "Sequence", "decoders": [content["decoder"] or rule, rule, rule]}


@pytest.mark.parametrize("change", [growing, growing_back])
def test_rules_that_make_a_text_grow_without_bounds_are_refused(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"broken\S*: its rules make a text up to \S+ times longer"):
        Vocabulary(published(tmp_path / "broken", change))


def test_a_pattern_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        backtracking(content)
        content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(((("

    with pytest.raises(InputError, match=r"broken"):
        Vocabulary(published(tmp_path / "broken", change))
