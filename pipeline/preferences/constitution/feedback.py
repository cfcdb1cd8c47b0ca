"""Labels by a model: how likely it says (A) and how likely (B), in both orders (Bai et al. 2022, 4.1)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_prep.contract.settings import InputError
from pipeline.config import ConstitutionConfig, PrincipleConfig
from pipeline.evaluation.scoring import Continuation, LanguageModel, log_likelihoods
from pipeline.preferences.constitution.questions import comparison, critique
from pipeline.prompting.chat import ChatTemplate
from pipeline.tuning.instructions import Conversation


class Pair(NamedTuple):
    """Two answers to a prompt, and by what they are compared."""

    prompt: Conversation
    first: str
    second: str
    principle: PrincipleConfig


class Label(NamedTuple):
    """How sure a critic is that the first of two answers is better."""

    forward: float
    """Asked with the first as (A)."""
    backward: float
    """Asked with the first as (B)."""

    @property
    def share(self) -> float:
        """The mean of both, which no preference for a letter moves."""
        return (self.forward + self.backward) / 2


def labels(model: LanguageModel, constitution: ConstitutionConfig, pairs: Sequence[Pair]) -> list[Label]:
    """A soft label for each pair. `InputError` where the critic has no room for a question."""
    asked = [
        comparison(constitution, principle, prompt, *texts)
        for prompt, first, second, principle in pairs
        for texts in ((first, second), (second, first))
    ]
    shares = likelier(model, asked, constitution.choices, "constitution.comparison")
    return [Label(*both) for both in zip(shares[::2], (1 - one for one in shares[1::2]), strict=True)]


def separate_labels(
    model: LanguageModel, constitution: ConstitutionConfig, pairs: Sequence[Pair]
) -> list[Label]:
    """The same without an order: what a critic says of each answer alone, by the Bradley-Terry model.

    An answer's score is the log-odds of `kept` against `broken` as the critic's answer to the critique. It is
    what a critic too small to compare can tell (Lee et al. 2023 score answers directly).
    """
    asked = [
        critique(constitution, principle, prompt, text)
        for prompt, first, second, principle in pairs
        for text in (first, second)
    ]
    said = constitution.kept, constitution.broken
    odds = np.array(likelier(model, asked, said, "constitution.critique")).clip(1e-12, 1 - 1e-12)
    scores = np.log(odds / (1 - odds)).reshape(-1, 2).tolist()
    return [Label(share, share) for share in (chosen(first, second) for first, second in scores)]


def likelier(
    model: LanguageModel, asked: Sequence[Conversation], said: tuple[str, str], key: str
) -> list[float]:
    """How likely a critic says the first of two things to each question, and not the second."""
    template, vocabulary = ChatTemplate(model.vocabulary), model.vocabulary
    answers = [vocabulary.encode(one) for one in said]
    items: list[Continuation] = []
    for question in asked:
        context = template.prompt(question)
        if len(context) + max(map(len, answers)) > model.config.context_length:
            raise InputError(
                f"{key}: a question has {len(context)} tokens, and the critic reads "
                f"{model.config.context_length}; shorten the template or max_tokens"
            )
        items += [Continuation(context, one) for one in answers]
    logs = log_likelihoods(model, items)
    return [chosen(first, second) for first, second in zip(logs[::2], logs[1::2], strict=True)]


def chosen(of: float, other: float) -> float:
    """Softmax over two log-probabilities: the share of the first.

    >>> chosen(-1.0, -1.0), round(chosen(0.0, -3.0), 4)
    (0.5, 0.9526)
    """
    return float(1 / (1 + np.exp(np.clip(other - of, -700, 700))))
