"""Labels by a model: how likely it says (A) and how likely (B), in both orders (Bai et al. 2022, 4.1)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_prep.contract.settings import InputError
from pipeline.config import ConstitutionConfig, PrincipleConfig
from pipeline.evaluation.scoring import Continuation, LanguageModel, log_likelihoods
from pipeline.preferences.constitution.questions import comparison
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
    template = ChatTemplate(model.vocabulary)
    choices = [model.vocabulary.encode(choice) for choice in constitution.choices]
    items: list[Continuation] = []
    for prompt, first, second, principle in pairs:
        for texts in ((first, second), (second, first)):
            context = template.prompt(comparison(constitution, principle, prompt, *texts))
            if len(context) + max(map(len, choices)) > model.config.context_length:
                raise InputError(
                    f"constitution.comparison: a question has {len(context)} tokens, and the critic reads "
                    f"{model.config.context_length}; shorten the template or max_tokens"
                )
            items += [Continuation(context, choice) for choice in choices]
    logs = np.array(log_likelihoods(model, items)).reshape(len(pairs), 2, 2)
    return [Label(chosen(*forward), chosen(*reversed(backward))) for forward, backward in logs.tolist()]


def chosen(of: float, other: float) -> float:
    """Softmax over two log-probabilities: the share of the first.

    >>> chosen(-1.0, -1.0), round(chosen(0.0, -3.0), 4)
    (0.5, 0.9526)
    """
    return float(1 / (1 + np.exp(np.clip(other - of, -700, 700))))
