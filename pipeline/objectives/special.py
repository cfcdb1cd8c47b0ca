"""What objectives know of a vocabulary: plain ids and tables indexed by token id, no tokenizer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABSENT = -1
"""Id of a token that is not there. Objectives that need it are refused before they make a batch."""


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of reserved tokens, and tables over the V tokens that tell where words and sentences end."""

    pad: int
    eos: int
    cls: int
    sep: int
    mask: int
    """`ABSENT`, like <cls> and <sep>, where a published tokenizer has none."""
    sentinels: NDArray[np.int64]
    """The sentinels, sentinel 0 first."""
    ordinary: NDArray[np.int64]
    """The tokens that text is made of, which a random token is drawn from."""
    after_space: NDArray[np.bool_]
    """[V] whether a token begins behind a space."""
    word_start: NDArray[np.bool_]
    """[V] whether a token always starts a word: behind a space, or with punctuation."""
    word_end: NDArray[np.bool_]
    """[V] whether a token always ends a word: with punctuation."""
    sentence_end: NDArray[np.bool_]
    """[V] whether a token ends a sentence if a space follows."""
    line_end: NDArray[np.bool_]
    """[V] whether a token ends a sentence whatever follows: a line break, `<eos>`."""

    def starts_word(self, tokens: NDArray[Any]) -> NDArray[np.bool_]:
        """[B, S] where words start in tokens [B, S]. Punctuation is a word by itself, as in BERT."""
        starts: NDArray[np.bool_] = self.word_start.take(tokens)
        starts[:, 0] = True
        starts[:, 1:] |= self.word_end.take(tokens[:, :-1])
        return starts

    def ends_sentence(self, tokens: NDArray[Any]) -> NDArray[np.bool_]:
        """[B, S] where sentences end in tokens [B, S]."""
        ends: NDArray[np.bool_] = self.sentence_end.take(tokens)
        ends[:, :-1] &= self.after_space.take(tokens[:, 1:])
        return ends | self.line_end.take(tokens)
