"""Words and sentences as the objectives see them, in pieces of a real SentencePiece model."""

import io
from itertools import pairwise

import numpy as np
import pytest
import sentencepiece

from data_prep.contract.vocabulary import RESERVED, Vocabulary
from pipeline.data.tables import special_tokens
from pipeline.objectives.special import SpecialTokens

TEXT = 'He said: "Wait." Then (at 3.5 km/h) he didn\'t go on. It was late!\nNew line?'


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    path = tmp_path_factory.mktemp("tables") / "tokenizer.model"
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([TEXT] * 20 + ["Then he said go wait late on line new"] * 20),
        model_writer=model,
        vocab_size=200,
        hard_vocab_limit=False,
        byte_fallback=False,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        pad_piece="<pad>",
        unk_piece="<unk>",
        bos_piece="<bos>",
        eos_piece="<eos>",
        control_symbols=list(RESERVED[4:]),
        user_defined_symbols=["\n"],
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    return Vocabulary(path)


@pytest.fixture(scope="module")
def special(vocabulary: Vocabulary) -> SpecialTokens:
    return special_tokens(vocabulary)


def groups(vocabulary: Vocabulary, tokens: list[int], heads: list[int]) -> list[str]:
    """The texts of the stretches that begin at `heads`."""
    pieces = [vocabulary.piece_of(token) for token in tokens]
    return [
        "".join(pieces[a:b]).replace("\u2581", " ").strip(" ") for a, b in pairwise([*heads, len(tokens)])
    ]


def test_words(vocabulary: Vocabulary, special: SpecialTokens) -> None:
    tokens = vocabulary.encode(TEXT)
    heads = np.flatnonzero(special.starts_word(np.array([tokens]))[0]).tolist()
    found = [word for word in groups(vocabulary, tokens, heads) if word.strip()]
    expected = 'He said : " Wait . " Then ( at 3 . 5 km / h ) he didn \' t go on . It was late ! New line ?'
    assert " ".join(found) == expected


def test_sentences(vocabulary: Vocabulary, special: SpecialTokens) -> None:
    """A full stop inside a number ends none, nor does one whose quotation mark is a token by itself."""
    tokens = vocabulary.encode(TEXT)
    ends = special.ends_sentence(np.array([tokens]))[0]
    heads = [0, *(np.flatnonzero(ends)[:-1] + 1).tolist()]
    found = [text.strip() for text in groups(vocabulary, tokens, heads)]
    first = 'He said: "Wait." Then (at 3.5 km/h) he didn\'t go on.'
    assert [text for text in found if text] == [first, "It was late!", "New line?"]


def test_reserved_tokens_are_words_and_only_eos_ends_a_sentence(
    vocabulary: Vocabulary, special: SpecialTokens
) -> None:
    reserved = np.array([vocabulary.id_of(piece) for piece in RESERVED])
    assert special.word_start[reserved].all()
    assert special.word_end[reserved].all()
    assert reserved[special.line_end[reserved]].tolist() == [vocabulary.eos]
    assert not np.isin(special.ordinary, reserved).any()
    assert len(special.ordinary) + len(reserved) == vocabulary.size
    assert special.sentinels[0] == special.sentinels.max()
