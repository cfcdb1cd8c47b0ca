"""How a model is given a context and an answer: one after the other, or one in front of each stack.

A decoder reads both as one sequence. An encoder-decoder reads the context with its encoder and has the
answer, shifted right behind a start token, in its decoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.objectives.registry import objective_of

Ids = Sequence[int]
Inputs = dict[str, NDArray[Any]]


class PromptForm(Protocol):
    """The form of one model; S is its sequence length."""

    def size(self, context: Ids, answer: Ids) -> int:
        """Tokens that the model reads."""
        ...

    def fits(self, context: Ids, answer: Ids) -> bool:
        """Whether every token of an answer is predicted from the whole context."""
        ...

    def cut(self, context: Ids, answer: Ids) -> tuple[list[int], list[int]]:
        """What fits of both: an answer loses its end, a context its beginning."""
        ...

    def inputs(self, contexts: Sequence[Ids], answers: Sequence[Ids]) -> tuple[Inputs, NDArray[np.int64]]:
        """A padded batch, and in which column the first token of each row's answer is predicted.

        The columns after that predict the answer's further tokens. Only what fits may be given.
        """
        ...


@dataclass(frozen=True)
class JoinedPrompt:
    """A decoder's: padding on the right is seen by nothing before it."""

    length: int
    pad: int

    def size(self, context: Ids, answer: Ids) -> int:
        return len(context) + len(answer) - 1

    def fits(self, context: Ids, answer: Ids) -> bool:
        return len(context) + len(answer) <= self.length + 1

    def cut(self, context: Ids, answer: Ids) -> tuple[list[int], list[int]]:
        kept = list(answer[: self.length])
        return list(context)[-(self.length + 1 - len(kept)) :], kept

    def inputs(self, contexts: Sequence[Ids], answers: Sequence[Ids]) -> tuple[Inputs, NDArray[np.int64]]:
        rows = [[*context, *answer] for context, answer in zip(contexts, answers, strict=True)]
        return {"tokens": padded(rows, self.pad)}, np.array([len(context) - 1 for context in contexts])


@dataclass(frozen=True)
class EncodedPrompt:
    """An encoder-decoder's; neither stack sees more than S tokens."""

    length: int
    pad: int
    start: int

    def size(self, context: Ids, answer: Ids) -> int:
        return len(context) + len(answer)

    def fits(self, context: Ids, answer: Ids) -> bool:
        return max(len(context), len(answer)) <= self.length

    def cut(self, context: Ids, answer: Ids) -> tuple[list[int], list[int]]:
        return list(context[-self.length :]), list(answer[: self.length])

    def inputs(self, contexts: Sequence[Ids], answers: Sequence[Ids]) -> tuple[Inputs, NDArray[np.int64]]:
        encoder_tokens = padded(contexts, self.pad)
        real = np.arange(encoder_tokens.shape[1]) < np.array([len(one) for one in contexts])[:, None]
        return {
            "tokens": padded([[self.start, *answer] for answer in answers], self.pad),
            "encoder_tokens": encoder_tokens,
            "encoder_segments": real.astype(np.int32),
        }, np.zeros(len(answers), np.int64)


def prompt_form(config: PipelineConfig, vocabulary: Vocabulary) -> PromptForm:
    """The form of the model of a run."""
    length = config.context_length
    if config.model.architecture == "encoder_decoder":
        start = objective_of(config.objective).decoder_start(vocabulary)
        return EncodedPrompt(length, vocabulary.pad, start)
    return JoinedPrompt(length, vocabulary.pad)


def padded(rows: Sequence[Ids], pad: int) -> NDArray[np.int64]:
    """Rows of different lengths as one array, padded on the right."""
    tokens = np.full((len(rows), max(map(len, rows))), pad, dtype=np.int64)
    for row, ids in enumerate(rows):
        tokens[row, : len(ids)] = ids
    return tokens
