"""Log-likelihoods of token sequences under a model, in batches of similar length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.prompt_forms import Inputs, PromptForm, prompt_form
from pipeline.generation.model import GenerativeModel, Prompts
from pipeline.objectives.registry import objective_of

TOKENS_PER_BATCH = 8192
"""Tokens that the model sees at once; with V pieces the logits take 4 * V times as many bytes."""
ON_CPU = 4
"""A CPU reads a batch in so many parts: its caches hold what comes of fewer tokens."""


class LanguageModel(GenerativeModel, Protocol):
    """What evaluation asks of a model, as `pipeline.generation.load.load_model` gives it."""

    def logits(self, tokens_BS: Any, /, **others: Any) -> Any:
        """Float32 logits [B, S, V] of a torch tensor of tokens [B, S]; V may exceed the vocabulary's size.

        `others` are further inputs of a batch by name, such as `encoder_tokens`.
        """
        ...


@runtime_checkable
class Embedding(Protocol):
    """A model whose hidden states can be had."""

    def embed(self, rows: Prompts, /) -> Any:
        """[N, H] float32: the mean of the last hidden states of each row of tokens, a torch tensor."""
        ...


@runtime_checkable
class Continuing(Protocol):
    """A model that reads a context once for several answers."""

    def continued(self, contexts: Prompts, owners: Sequence[int], rows: Prompts, /) -> Any:
        """Logits [B, 1 + S, V] of what follows a context and each token of a row behind it.

        `owners` has the number of each row's context.
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

    Items whose answers differ in their last token alone are read once: all choices of one token are. What is
    before several answers is read once by a decoder that can.
    """
    form = prompt_form(model.config, model.vocabulary)
    alike: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for index, item in enumerate(items):
        alike.setdefault((tuple(item.context), tuple(item.answer[:-1])), []).append(index)
    behind: dict[tuple[int, ...], Groups] = {}
    for (context, _), group in alike.items():
        behind.setdefault(context, []).append(group)
    once = reads_once(model)
    shared = [groups for groups in behind.values() if once and len(groups) > 1]
    alone = [groups for some in behind.values() if not once or len(some) == 1 for groups in some]
    found: dict[int, Scored] = {}
    sizes = [form.size(items[one].context, items[one].answer) for one, *_ in alone]
    for batch in batches_by_length(sizes, tokens_at_once()):
        found |= _score(model, form, items, [alone[place] for place in batch])
    for some in _batches_behind(items, shared, model.config.context_length):
        found |= _score_behind(model, items, some)
    return [found[index] for index in range(len(items))]


def tokens_at_once() -> int:
    """About how many tokens are scored together."""
    import torch

    return TOKENS_PER_BATCH if torch.cuda.is_available() else max(1, TOKENS_PER_BATCH // ON_CPU)


def reads_once(model: LanguageModel) -> bool:
    """Whether a model goes on from one context in several ways, and finds what it does for each alone."""
    one_stack = model.config.model.architecture == "decoder"
    return isinstance(model, Continuing) and one_stack and not objective_of(model.config.objective).prefix


Groups = list[list[int]]
"""Indices of items: a row of a batch has those of one group."""


def _batches_behind(
    items: Sequence[Continuation], shared: list[Groups], longest: int
) -> Iterator[list[Groups]]:
    """Contexts with the groups behind them, about `tokens_at_once` at a time.

    Contexts end in the same column, so the longest one and the longest answer have to fit together.
    """
    most = tokens_at_once()
    batch: list[Groups] = []
    answer = rows = 0
    for groups in sorted(shared, key=lambda groups: len(items[groups[0][0]].context)):
        context = len(items[groups[0][0]].context)
        longer = max(answer, *(len(items[first].answer) for first, *_ in groups))
        tokens = context * (len(batch) + 1) + longer * (rows + len(groups))
        if batch and (tokens > most or context + longer > longest + 1):
            yield batch
            batch, answer, rows = [], 0, 0
        batch.append(groups)
        answer = max(answer, *(len(items[first].answer) for first, *_ in groups))
        rows += len(groups)
    if batch:
        yield batch


def _score(
    model: LanguageModel, form: PromptForm, items: Sequence[Continuation], groups: Groups
) -> dict[int, Scored]:
    """The scores of one batch, a row a group."""
    read = [items[first] for first, *_ in groups]
    inputs, firsts = form.inputs([item.context for item in read], [item.answer[:-1] for item in read])
    return _found(model, batch_logits(model, inputs), firsts, items, groups)


def _score_behind(
    model: LanguageModel, items: Sequence[Continuation], shared: list[Groups]
) -> dict[int, Scored]:
    """The same of groups that have their contexts in common."""
    assert isinstance(model, Continuing)
    contexts = [items[groups[0][0]].context for groups in shared]
    owners = [owner for owner, groups in enumerate(shared) for _ in groups]
    groups = [group for some in shared for group in some]
    rows = [items[first].answer[:-1] for first, *_ in groups]
    logits_BSV = model.continued(contexts, owners, rows)
    return _found(model, logits_BSV, np.zeros(len(groups), np.int64), items, groups)


def _found(
    model: LanguageModel,
    logits_BSV: Any,
    firsts: NDArray[np.int64],
    items: Sequence[Continuation],
    groups: Groups,
) -> dict[int, Scored]:
    """The scores by the logits of a batch, a row a group; only those that predict an answer are used.

    `firsts` has the column in which each row's answer begins to be predicted.
    """
    import torch

    lengths = [len(items[first].answer) for first, *_ in groups]
    rows = np.repeat(np.arange(len(groups)), lengths)
    columns = np.concatenate([first + np.arange(size) for first, size in zip(firsts, lengths, strict=True)])
    logits_AV = logits_BSV[rows, columns, : model.vocabulary.size]
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


def batches_by_length(lengths: Sequence[int], most: int | None = None) -> Iterator[list[int]]:
    """Indices grouped so that a batch padded to its longest item has at most `most` tokens, by default
    `TOKENS_PER_BATCH`.
    """
    most = most or TOKENS_PER_BATCH
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if batch and (len(batch) + 1) * lengths[index] > most:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
