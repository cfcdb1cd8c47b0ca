"""Log-likelihoods of token sequences under a model, in batches of similar length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.evaluation.prompt_forms import Inputs, PromptForm, prompt_form
from pipeline.generation.model import GenerativeModel

TOKENS_PER_BATCH = 8192
"""Tokens that the model sees at once; with V pieces the logits take 4 * V times as many bytes."""


class LanguageModel(GenerativeModel, Protocol):
    """What evaluation asks of a model, as `pipeline.generation.load.load_model` gives it."""

    def logits(self, tokens_BS: Any, /, **others: Any) -> Any:
        """Float32 logits [B, S, V] of a torch tensor of tokens [B, S]; V may exceed the vocabulary's size.

        `others` are further inputs of a batch by name, such as `encoder_tokens`.
        """
        ...


@dataclass(frozen=True)
class Continuation:
    """`answer` after `context`; the first token of a context is never predicted, so it must not be empty."""

    context: list[int]
    answer: list[int]


def log_likelihoods(model: LanguageModel, items: Sequence[Continuation]) -> list[float]:
    """Natural log of the probability of each answer after its context; the two must fit the model's form."""
    form = prompt_form(model.config, model.vocabulary)
    scores = [0.0] * len(items)
    for batch in batches_by_length([form.size(item.context, item.answer) for item in items]):
        for index, score in zip(batch, _score(model, form, [items[index] for index in batch]), strict=True):
            scores[index] = score
    return scores


def _score(model: LanguageModel, form: PromptForm, items: list[Continuation]) -> list[float]:
    """The scores of one batch; of the logits only the rows that predict an answer are looked at."""
    import torch

    inputs, firsts = form.inputs([item.context for item in items], [item.answer[:-1] for item in items])
    lengths = np.array([len(item.answer) for item in items])
    rows = np.repeat(np.arange(len(items)), lengths)
    columns = np.concatenate([first + np.arange(size) for first, size in zip(firsts, lengths, strict=True)])
    answers = torch.tensor([token for item in items for token in item.answer])
    logits_AV = batch_logits(model, inputs)[rows, columns, : model.vocabulary.size]
    chosen_A = logits_AV.gather(1, answers[:, None].to(logits_AV.device))[:, 0] - logits_AV.logsumexp(dim=-1)
    return [float(one.sum()) for one in chosen_A.double().cpu().split(lengths.tolist())]


def batch_logits(model: LanguageModel, inputs: Inputs) -> Any:
    """The logits of a batch's inputs, given as arrays."""
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    return model.logits(tensors.pop("tokens"), **tensors)


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
