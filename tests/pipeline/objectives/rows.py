"""Samples and special tokens written out by hand."""

import numpy as np

from pipeline.objectives.draws import combine
from pipeline.objectives.samples import Samples
from pipeline.objectives.special import SpecialTokens

PAD, EOS, CLS, SEP, MASK = 0, 3, 4, 5, 6
FIRST = 120
"""The first ordinary token; every fourth from it on starts a word, every tenth ends a sentence."""


def special(size: int = 1000) -> SpecialTokens:
    """A vocabulary with <pad> 0, <eos> 3, <cls> 4, <sep> 5, <mask> 6 and sentinels 110 down to 11."""
    ids = np.arange(size)
    return SpecialTokens(
        pad=PAD,
        eos=EOS,
        cls=CLS,
        sep=SEP,
        mask=MASK,
        sentinels=np.arange(110, 10, -1),
        ordinary=np.arange(FIRST, size),
        after_space=ids >= 0,
        word_start=(ids < FIRST) | (ids % 4 == 0),
        word_end=ids < FIRST,
        sentence_end=(ids == EOS) | ((ids >= FIRST) & (ids % 10 == 0)),
        line_end=ids == EOS,
    )


def samples(rows: list[list[int]], width: int | None = None, seed: int = 0) -> Samples:
    """Samples with these tokens; shorter rows have a length."""
    width = width or max(len(row) for row in rows)
    tokens = np.full((len(rows), width), EOS, np.uint16)
    for out, row in zip(tokens, rows, strict=True):
        out[: len(row)] = row
    following = np.roll(tokens, -1, axis=1)
    following[:, -1] = EOS
    keys = combine(seed, np.arange(len(rows)))
    return Samples(tokens, following, np.array([len(row) for row in rows]), keys)


def random_samples(count: int, width: int, seed: int = 0, size: int = 1000, eos: float = 0.01) -> Samples:
    """Full samples of random ordinary tokens with an <eos> now and then."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(FIRST, size, (count, width)).astype(np.uint16)
    tokens[rng.random((count, width)) < eos] = EOS
    following = np.roll(tokens, -1, axis=1)
    return Samples(tokens, following, np.full(count, width), combine(seed, np.arange(count)))
