"""Log-likelihoods of token sequences under a model, in batches of similar length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig

TOKENS_PER_BATCH = 8192
"""Tokens that the model sees at once; with V pieces the logits take 4 * V times as many bytes."""


class LanguageModel(Protocol):
    """What evaluation asks of a model, as `pipeline.models.load.load_model` gives it."""

    @property
    def config(self) -> PipelineConfig:
        """The resolved configuration of the run."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """The run's tokenizer."""
        ...

    def logits(self, tokens_BS: Any, /) -> Any:
        """Float32 logits [B, S, V] of a torch tensor of tokens [B, S]; V may exceed the vocabulary's size."""
        ...


@dataclass(frozen=True)
class Continuation:
    """`answer` after `context`; the first token of a context is never predicted, so it must not be empty."""

    context: list[int]
    answer: list[int]


def log_likelihoods(model: LanguageModel, items: Sequence[Continuation]) -> list[float]:
    """Natural log of the probability of each answer after its context; the two together fit in S + 1 tokens.

    The model is causal, so sequences are padded on the right and the padding changes nothing.
    """
    import torch

    scores = [0.0] * len(items)
    for batch in batches_by_length([len(item.context) + len(item.answer) for item in items]):
        rows = [items[index].context + items[index].answer for index in batch]
        width = max(map(len, rows)) - 1
        tokens = np.full((len(rows), width), model.vocabulary.pad, dtype=np.int64)
        for row, ids in enumerate(rows):
            tokens[row, : len(ids) - 1] = ids[:-1]
        logits = model.logits(torch.from_numpy(tokens))[..., : model.vocabulary.size]
        for row, index in enumerate(batch):
            answer = torch.tensor(items[index].answer, device=logits.device)
            end = len(rows[row]) - 1
            predicted = logits[row, end - len(answer) : end]
            chosen = predicted.gather(1, answer[:, None])[:, 0] - predicted.logsumexp(dim=-1)
            scores[index] = float(chosen.double().sum())
    return scores


def batches_by_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices grouped so that a batch padded to its longest item has at most `TOKENS_PER_BATCH` tokens."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if batch and (len(batch) + 1) * lengths[index] > TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
