"""What a critic too small to know better is taught: critiques, revisions and choices whose answer is known.

Of each pair of a question and an answer that somebody wrote, and each principle that has a breach, the answer
that keeps to the principle is set beside one that was made to break it, its own or another question's.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.config import ConstitutionConfig, PrincipleConfig
from pipeline.preferences.constitution.breaches import Breach
from pipeline.preferences.constitution.questions import comparison, critique, revision
from pipeline.prompting.chat import Message
from pipeline.tuning.instructions import Conversation

ALIKE = 0.1
"""Share of the comparisons whose answers both keep to the principle: each is said to be better once."""
Known = list[tuple[PrincipleConfig, Breach]]
Pair = tuple[Conversation, str]
"""What is asked, and the answer."""


def lessons(
    constitution: ConstitutionConfig, known: Known, pairs: Sequence[Pair], each: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Rows of messages for each answer that can be made to break a principle.

    A critique with its revision, and `each` comparisons, every one in both orders.
    """
    for place, (principle, breach) in enumerate(known):
        kept = [(prompt, answer) for prompt, answer in pairs if not breach.broken(answer)]
        draws = np.random.default_rng([seed, place])
        flawed: list[tuple[Conversation, str, str]] = []
        for prompt, answer in kept:
            other = kept[int(draws.integers(len(kept)))][1]
            made = breach.make(answer, other, draws)
            if made is not None and breach.broken(made):
                flawed.append((prompt, answer, made))
        for prompt, answer, made in flawed:
            worse = draws.random() < 0.5
            yield revised(constitution, principle, prompt, made if worse else answer, answer, worse)
            for _ in range(each):
                yield from compared(constitution, principle, prompt, answer, flawed, draws)


def revised(
    constitution: ConstitutionConfig,
    principle: PrincipleConfig,
    prompt: Conversation,
    given: str,
    better: str,
    broken: bool,
) -> dict[str, Any]:
    """A critique of what is given, and the answer that keeps to the principle."""
    said = constitution.broken if broken else constitution.kept
    asked = revision(constitution, principle, critique(constitution, principle, prompt, given), said)
    return row((*asked, Message("assistant", better)))


def compared(
    constitution: ConstitutionConfig,
    principle: PrincipleConfig,
    prompt: Conversation,
    answer: str,
    flawed: Sequence[tuple[Conversation, str, str]],
    draws: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    """A choice between an answer and one that breaks the principle, in both orders."""
    _, other, worse = flawed[int(draws.integers(len(flawed)))]
    if draws.random() < ALIKE:
        worse = other
    for place, texts in enumerate(((answer, worse), (worse, answer))):
        asked = comparison(constitution, principle, prompt, *texts)
        yield row((*asked, Message("assistant", constitution.choices[place])))


def row(messages: Conversation) -> dict[str, Any]:
    """As files of conversations have it."""
    return {"messages": [{"role": one.role, "content": one.content} for one in messages]}
