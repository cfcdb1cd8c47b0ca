"""How much of a task a model may have read: questions that share n-grams of tokens with the train shards.

As GPT-3 counts it (Brown et al. 2020, appendix C), with tokens in the place of words: a question is
contaminated where any n tokens in a row of it and its answers stand in the train split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import Dataset
from data_prep.contract.vocabulary import Vocabulary
from pipeline.evaluation.tasks.questions import Question

NGRAM = 13
TOKENS = 200_000_000
"""At most so many train tokens are looked at; the report says how many were."""


@dataclass(frozen=True)
class Overlap:
    """What was found of one task."""

    questions: int
    """How many are long enough to be looked at."""
    contaminated: int
    numbers: frozenset[int]
    """The contaminated ones."""


def overlaps(dataset: Dataset, tasks: dict[str, Sequence[Question]]) -> tuple[dict[str, Overlap], int]:
    """Every task's overlap with the train split, and how many of its tokens were looked at."""
    asked = {name: [ngrams(dataset.vocabulary, one) for one in some] for name, some in tasks.items()}
    everything = [one for some in asked.values() for one in some]
    wanted = np.unique(np.concatenate([np.empty(0, np.uint64), *everything]))
    present, seen = np.zeros(len(wanted), bool), 0
    for block in dataset.blocks("train"):
        if seen >= TOKENS or not len(wanted):
            break
        found = hashes(block.tokens)
        places = np.minimum(np.searchsorted(wanted, found), len(wanted) - 1)
        present[places[wanted[places] == found]] = True
        seen += len(block.tokens)
    known = wanted[present]
    result = {}
    for name, some in tasks.items():
        long = [(one.number, grams) for one, grams in zip(some, asked[name], strict=True) if len(grams)]
        hit = frozenset(number for number, grams in long if np.isin(grams, known).any())
        result[name] = Overlap(len(long), len(hit), hit)
    return result, seen


def ngrams(vocabulary: Vocabulary, question: Question) -> NDArray[np.uint64]:
    """The n-grams of a question with each answer that is right; none where it is shorter than one."""
    texts = [f"{question.context} {one}".strip() for one in question.references]
    return np.unique(np.concatenate([hashes(np.array(vocabulary.encode(one))) for one in texts]))


def hashes(tokens: NDArray[Any]) -> NDArray[np.uint64]:
    """A hash of every n tokens in a row: a polynomial, modulo 2**64, of mixed ids."""
    mixed = (tokens.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    count = len(mixed) - NGRAM + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    found = np.zeros(count, np.uint64)
    for place in range(NGRAM):
        found = found * np.uint64(0xBF58476D1CE4E5B9) + mixed[place : place + count]
    return found
