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


@dataclass(frozen=True)
class Scored:
    """What a model makes of a continuation."""

    log_likelihood: float
    """Natural log of the probability of the answer after its context."""
    greedy: bool
    """Whether every token of the answer is the likeliest one where it stands."""


def log_likelihoods(model: LanguageModel, items: Sequence[Continuation]) -> list[float]:
    """Natural log of the probability of each answer after its context; the two must fit the model's form."""
    return [one.log_likelihood for one in score(model, items)]


def score(model: LanguageModel, items: Sequence[Continuation]) -> list[Scored]:
    """The same, and whether the answer is what the model would say.

    Items whose answers differ in their last token alone are read once: all choices of one token are.
    """
    form = prompt_form(model.config, model.vocabulary)
    alike: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for index, item in enumerate(items):
        alike.setdefault((tuple(item.context), tuple(item.answer[:-1])), []).append(index)
    groups = list(alike.values())
    found: dict[int, Scored] = {}
    for batch in batches_by_length([form.size(items[one].context, items[one].answer) for one, *_ in groups]):
        found |= _score(model, form, items, [groups[place] for place in batch])
    return [found[index] for index in range(len(items))]


def _score(
    model: LanguageModel, form: PromptForm, items: Sequence[Continuation], groups: list[list[int]]
) -> dict[int, Scored]:
    """The scores of one batch, a row a group; of the logits only the rows that predict an answer are used."""
    import torch

    read = [items[first] for first, *_ in groups]
    inputs, firsts = form.inputs([item.context for item in read], [item.answer[:-1] for item in read])
    lengths = [len(item.answer) for item in read]
    rows = np.repeat(np.arange(len(read)), lengths)
    columns = np.concatenate([first + np.arange(size) for first, size in zip(firsts, lengths, strict=True)])
    logits_AV = batch_logits(model, inputs)[rows, columns, : model.vocabulary.size]
    normal_A, best_A = logits_AV.logsumexp(dim=-1), logits_AV.argmax(dim=-1)
    # An answer's tokens are predicted by the rows of its group: [1, 2] and [1, 3] by rows 0 and 1 of theirs.
    starts = np.concatenate([[0], np.cumsum(lengths)])
    order = [(index, start) for group, start in zip(groups, starts, strict=False) for index in group]
    sizes = [len(items[index].answer) for index, _ in order]
    places = np.concatenate([start + np.arange(len(items[index].answer)) for index, start in order])
    answers = torch.tensor([token for index, _ in order for token in items[index].answer])
    answers, places = answers.to(logits_AV.device), torch.from_numpy(places).to(logits_AV.device)
    logs = (logits_AV[places, answers] - normal_A[places]).double().cpu().split(sizes)
    greedy = (best_A[places] == answers).cpu().split(sizes)
    return {
        index: Scored(float(log.sum()), bool(same.all()))
        for (index, _), log, same in zip(order, logs, greedy, strict=True)
    }


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
