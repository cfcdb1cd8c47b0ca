"""From a tokenizer to the plain ids and tables that objectives work with."""

import numpy as np

from data_prep.contract.vocabulary import CLS, MASK, RESERVED, SEP, Vocabulary
from pipeline.objectives.special import SpecialTokens

SPACE = "\u2581"
"""SentencePiece's mark for the space before a word."""
CLOSERS = "\"')]\u2019\u201d"
"""What may stand between a sentence's full stop and its end."""


def special_tokens(vocabulary: Vocabulary) -> SpecialTokens:
    """The tables of a vocabulary; reserved pieces start words, and `<eos>` ends a sentence."""
    pieces = [vocabulary.piece_of(index) for index in range(vocabulary.size)]
    reserved = np.array([vocabulary.id_of(piece) for piece in RESERVED])
    starts = np.array([piece.startswith((SPACE, "\n", " ")) for piece in pieces])
    ends = np.array([piece.rstrip(CLOSERS).endswith((".", "!", "?", "\n")) for piece in pieces])
    starts[reserved] = True
    ends[reserved] = False
    ends[vocabulary.eos] = True
    return SpecialTokens(
        pad=vocabulary.pad,
        eos=vocabulary.eos,
        cls=vocabulary.id_of(CLS),
        sep=vocabulary.id_of(SEP),
        mask=vocabulary.id_of(MASK),
        sentinels=np.array(vocabulary.sentinels),
        ordinary=np.setdiff1d(np.arange(vocabulary.size), reserved),
        word_start=starts,
        sentence_end=ends,
    )
