"""A SentencePiece model as tokenizer.json: the same ids on real text, control symbols never found in text."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import transformers

from data_prep.config import TokenizerConfig
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import RESERVED, Vocabulary
from data_prep.tokenize.train import train_model
from pipeline.conversion import tokenizer, tokenizer_check
from pipeline.conversion.tokenizer_check import count_ties
from tests.pipeline import tiny

TEXT = "A path, a list of numbers: 12 or 345?\n  Indented\tby a tab <div> naïve 日本語\n"


@pytest.fixture(autouse=True)
def _short_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_check, "SAMPLE_CHARACTERS", 100_000)


def trained(path: Path, **settings: Any) -> Vocabulary:
    """A model as data preparation trains it, on the text that it is compared on."""
    config = TokenizerConfig(vocabulary_size=800, **settings)
    path.write_bytes(train_model((text for text in tokenizer_check.sample() if len(text) > 100), config))
    return Vocabulary(path)


def written(folder: Path, vocabulary: Vocabulary) -> Any:
    """What transformers loads."""
    lines: list[str] = []
    tokenizer.write_tokenizer(folder, vocabulary, 512, lines.append)
    assert "the same ids as SentencePiece" in lines[0]
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("byte_fallback", [True, False])
def test_ids_are_those_of_sentencepiece(tmp_path: Path, kind: str, byte_fallback: bool) -> None:
    vocabulary = trained(tmp_path / "m.model", kind=kind, byte_fallback=byte_fallback)
    found = written(tmp_path, vocabulary)
    for text in (TEXT, " ".join(RESERVED), "x<eos><0x0A>y<extra_id_7>"):
        ids = found(text)["input_ids"]
        assert ids == vocabulary.encode(text)
        assert not {vocabulary.eos, vocabulary.pad, *vocabulary.sentinels} & set(ids)
        if byte_fallback:
            assert found.decode(ids) == text
    assert (found.pad_token_id, found.bos_token_id, found.eos_token_id) == (0, 2, 3)
    assert found.convert_tokens_to_ids(list(RESERVED)) == [vocabulary.id_of(piece) for piece in RESERVED]
    assert found.decode([vocabulary.eos, *vocabulary.encode("a b")], skip_special_tokens=True) == "a b"
    assert found.vocab_size == vocabulary.size


def test_a_model_with_sentencepieces_own_normalisation(tmp_path: Path) -> None:
    vocabulary = tiny.vocabulary(tmp_path / "m.model")
    found = written(tmp_path, vocabulary)
    text = "  reads   the \uff46ile \ufb01le  "
    assert found(text)["input_ids"] == vocabulary.encode(text)


def test_a_tokenizer_that_would_give_other_ids_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = trained(tmp_path / "m.model")
    right = tokenizer.unigram

    def wrong(model: Any) -> dict[str, Any]:
        found = right(model)
        found["vocab"][vocabulary.id_of("s")][1] += 5.0
        return found

    monkeypatch.setattr(tokenizer, "unigram", wrong)
    with pytest.raises(InputError, match="other ids: SentencePiece has"):
        tokenizer.write_tokenizer(tmp_path, vocabulary, 512, lambda line: None)
    assert not (tmp_path / "tokenizer.json").exists()


def test_word_models_are_refused(tmp_path: Path) -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(tiny.sentences(50)),
        model_writer=model,
        model_type="word",
        vocab_size=140,
        hard_vocab_limit=False,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        pad_piece="<pad>",
        bos_piece="<bos>",
        eos_piece="<eos>",
        control_symbols=list(RESERVED[4:]),
        minloglevel=2,
    )
    (tmp_path / "m.model").write_bytes(model.getvalue())
    with pytest.raises(InputError, match="neither a unigram nor a BPE model"):
        tokenizer.write_tokenizer(tmp_path, Vocabulary(tmp_path / "m.model"), 512, lambda line: None)


def test_without_the_library_no_unproved_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "find_spec", lambda name: None)
    lines: list[str] = []
    tokenizer.write_tokenizer(tmp_path, tiny.vocabulary(tmp_path / "m.model"), 512, lines.append)
    assert "cannot be checked and is left out" in lines[0]
    assert not (tmp_path / "tokenizer.json").exists()
    assert (tmp_path / "tokenizer.model").is_file()


def test_ties_are_told_from_differences() -> None:
    scores = {"a": -1.0, "b": -2.0, "ab": -2.5, "ba": -2.5, "c": -9.0}
    assert count_ties(["a", "ba", "c"], ["ab", "a", "c"], scores) == 1
    assert count_ties(["a", "b", "c"], ["ab", "c"], scores) is None
    assert count_ties(["a", "c"], ["a", "b"], scores) is None
    assert count_ties(["a", "ba"], ["ab", "a"], {}) is None


def test_json_is_plain(tmp_path: Path) -> None:
    written(tmp_path, tiny.vocabulary(tmp_path / "m.model"))
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    assert content["model"]["type"] == "Unigram"
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["split_special_tokens"] is True
