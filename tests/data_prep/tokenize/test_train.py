"""Training the tokenizer: text comes back as it was, and what cannot be trained is one sentence."""

import re
from pathlib import Path
from typing import Literal

import pytest

from data_prep.config import TokenizerConfig
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from data_prep.tokenize.train import train_model
from tests.data_prep.helpers import prep_config, prepare_here, story, write_jsonl

Kind = Literal["unigram", "bpe"]
STORIES = [story(number, 600) for number in range(5)]
HAN = "".join(chr(0x4E00 + number) for number in range(3000))


def train(texts: list[str], kind: Kind, size: int) -> bytes:
    return train_model(iter(texts), TokenizerConfig(kind=kind, vocabulary_size=size))


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_text_comes_back_as_it_was(kind: Kind, tmp_path: Path) -> None:
    model = train(STORIES, kind, 450)
    assert train(STORIES, kind, 450) == model
    (tmp_path / "a.model").write_bytes(model)
    vocabulary = Vocabulary(tmp_path / "a.model")
    for text in (STORIES[0], "  two\n\n    indented  \n", "Ünïcödé 漢字 \U0001f600", "<eos> <pad>"):
        ids = vocabulary.encode(text)
        assert vocabulary.decode(ids) == text
        assert not {vocabulary.eos, vocabulary.pad} & set(ids)  # text cannot forge them


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize(
    ("texts", "size", "sentence"),
    [
        (["Tiny."], 500, r"vocabulary_size: 500 is more than this text supports; (\d+) or less fits"),
        (STORIES, 16_384, r"vocabulary_size: 16384 is more than this text supports; (\d+) or less fits"),
        (
            [HAN, HAN],
            1_000,
            r"vocabulary_size: 1000 is too small for the characters of .*; (\d+) or more fits",
        ),
        (STORIES, 200, r"vocabulary_size: 200 is too small for the characters of .*; (\d+) or more fits"),
    ],
)
def test_a_vocabulary_that_the_text_does_not_support(
    texts: list[str], size: int, sentence: str, kind: Kind
) -> None:
    with pytest.raises(InputError, match=sentence) as told:
        train(texts, kind, size)
    fits = re.search(sentence, str(told.value))
    assert fits
    train(texts, kind, int(fits[1]))  # the size that the sentence names is right


def test_a_sample_without_a_document(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", STORIES)
    with pytest.raises(InputError, match="sample_bytes: 1 draws none of the"):
        prepare_here(prep_config([tmp_path / "a.jsonl"], tokenizer={"sample_bytes": 1}), tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "no such file"), (b"junk", "not a SentencePiece model")]
)
def test_a_model_that_cannot_be_used(content: bytes | None, sentence: str, tmp_path: Path) -> None:
    from data_prep.run import prepare
    from data_prep.storage import Storage

    write_jsonl(tmp_path / "a.jsonl", STORIES)
    if content is not None:
        (tmp_path / "x.model").write_bytes(content)
    config = prep_config([tmp_path / "a.jsonl"], tokenizer={"model": str(tmp_path / "x.model")})
    with pytest.raises(InputError, match=f"x.model: {sentence}"):
        prepare(config, Storage(tmp_path / "out"))
