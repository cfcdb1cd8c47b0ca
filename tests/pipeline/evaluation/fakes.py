"""Models whose probabilities are known in closed form."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.generation.model import Prompts
from tests.pipeline.generation.uncached import Uncached

PADDING_COLUMNS = 3
"""Columns beyond the vocabulary, as of a padded table; they would win if they were looked at."""


class Sessionless:
    """What generates by reading whole rows again at every step."""

    def session(self, sources: Prompts | None = None) -> Uncached:
        return Uncached(self, sources)


class Bigram(Sessionless):
    """The next token's probabilities depend on the last token alone, by a table of natural logs [V, V]."""

    def __init__(self, config: PipelineConfig, vocabulary: Vocabulary, logs: NDArray[np.float64]) -> None:
        self.config, self.vocabulary, self.logs = config, vocabulary, logs
        self.seen: list[tuple[int, ...]] = []

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(tokens.shape))
        logits = torch.full((*tokens.shape, self.vocabulary.size + PADDING_COLUMNS), 100.0)
        logits[..., : self.vocabulary.size] = torch.from_numpy(self.logs)[tokens].float() + 7.0
        return logits


def random_bigram(config: PipelineConfig, vocabulary: Vocabulary, seed: int = 0) -> Bigram:
    """A bigram model with random probabilities."""
    table = np.random.default_rng(seed).normal(size=(vocabulary.size, vocabulary.size))
    logs = table - np.log(np.exp(table).sum(axis=1, keepdims=True))
    return Bigram(config, vocabulary, logs)


def bigram_of(config: PipelineConfig, vocabulary: Vocabulary, texts: list[str]) -> Bigram:
    """A bigram model fitted on texts, with a hundredth added to every count."""
    counts = np.full((vocabulary.size, vocabulary.size), 0.01)
    for text in texts:
        ids: list[Any] = [vocabulary.eos, *vocabulary.encode(text), vocabulary.eos]
        np.add.at(counts, (ids[:-1], ids[1:]), 1.0)
    return Bigram(config, vocabulary, np.log(counts / counts.sum(axis=1, keepdims=True)))


class Recalling(Sessionless):
    """Like a bigram model after a row that holds a certain word, and flat otherwise."""

    def __init__(self, knowing: Bigram, word: str) -> None:
        self.knowing, self.config, self.vocabulary = knowing, knowing.config, knowing.vocabulary
        self.word = knowing.vocabulary.encode(word)

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        logits = self.knowing.logits(tokens)
        for row, ids in enumerate(tokens.tolist()):
            if not any(ids[i : i + len(self.word)] == self.word for i in range(len(ids))):
                logits[row, :, : self.vocabulary.size] = 0.0
        return logits
