"""From a tokenizer to the plain ids and tables that objectives work with."""

from collections.abc import Callable

import numpy as np

from data_prep.contract.pieces import SPACE, UNREADABLE
from data_prep.contract.vocabulary import CLS, MASK, SEP, Vocabulary
from pipeline.objectives.special import ABSENT, SpecialTokens

CLOSERS = "\"')]\u2019\u201d"
"""What may stand between a sentence's full stop and its end."""


def special_tokens(vocabulary: Vocabulary) -> SpecialTokens:
    """The tables of a vocabulary."""
    pieces = [vocabulary.piece_of(index) for index in range(vocabulary.size)]
    reserved = np.array(sorted(vocabulary.reserved))
    special = {name: vocabulary.id_of(name) for name in (CLS, SEP, MASK) if vocabulary.has(name)}
    tables = {name: np.array([test(piece) for piece in pieces]) for name, test in TESTS.items()}
    for name, table in tables.items():
        table[reserved] = name != "sentence_end"
    tables["line_end"][reserved] = reserved == vocabulary.eos
    return SpecialTokens(
        pad=vocabulary.pad,
        eos=vocabulary.eos,
        cls=special.get(CLS, ABSENT),
        sep=special.get(SEP, ABSENT),
        mask=special.get(MASK, ABSENT),
        sentinels=np.array(vocabulary.sentinels, dtype=np.int64),
        ordinary=np.setdiff1d(np.arange(vocabulary.size), reserved),
        **tables,
    )


def is_byte(piece: str) -> bool:
    """Whether a piece is one byte of a character that the vocabulary does not have, such as <0xE2>."""
    return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")


def is_punctuation(character: str) -> bool:
    """Whether a character stands between words: neither a letter nor a digit, nor a part of one."""
    return not character.isalnum() and character != UNREADABLE


TESTS: dict[str, Callable[[str], bool]] = {
    "after_space": lambda piece: piece.startswith((SPACE, "\n", " ")),
    "word_start": lambda piece: is_punctuation(piece[:1]) and not is_byte(piece),
    "word_end": lambda piece: is_punctuation(piece[-1:]) and not is_byte(piece),
    "sentence_end": lambda piece: piece.rstrip(CLOSERS).endswith((".", "!", "?")),
    "line_end": lambda piece: piece.endswith("\n"),
}
"""What is asked of every piece. The mark of a space counts as punctuation."""
