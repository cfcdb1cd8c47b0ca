"""Answers, what a critic says of them, and what it makes of them (Bai et al. 2022, section 3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from data_prep.contract.settings import InputError
from pipeline.config import ConstitutionConfig, PrincipleConfig
from pipeline.generation.answers import Answer
from pipeline.generation.load import LoadedModel
from pipeline.preferences.asking import answers_to
from pipeline.preferences.constitution.questions import critique, revision
from pipeline.prompting.chat import ChatTemplate
from pipeline.tuning.instructions import Conversation


@dataclass(frozen=True)
class Revised:
    """An answer and its last revision."""

    prompt: Conversation
    answer: str
    """The first one."""
    principle: PrincipleConfig
    """Of the last revision."""
    critique: str
    revision: str
    ended: bool = True
    """Whether the revision came to its end."""


@dataclass(frozen=True)
class Critic:
    """A model that is asked about answers."""

    model: LoadedModel
    constitution: ConstitutionConfig
    max_tokens: int
    """Most tokens of what it says."""
    temperature: float

    def revise(
        self, prompts: Sequence[Conversation], given: Sequence[str], rounds: int, seed: int
    ) -> list[Revised]:
        """Every answer revised so often, each time by a principle that is drawn and from the last one."""
        draws = np.random.default_rng([seed, 2])
        found = [
            Revised(prompt, one, self.constitution.principles[0], "", one)
            for prompt, one in zip(prompts, given, strict=True)
        ]
        for number in range(rounds):
            drawn = draws.integers(len(self.constitution.principles), size=len(found)).tolist()
            principles = [self.constitution.principles[place] for place in drawn]
            found = self._round(found, principles, seed + 2 * number)
        return found

    def _round(self, before: list[Revised], principles: list[PrincipleConfig], seed: int) -> list[Revised]:
        pairs = list(zip(before, principles, strict=True))
        asked = [critique(self.constitution, principle, one.prompt, one.revision) for one, principle in pairs]
        said = [text for text, _ in self._say(asked, seed)]
        wishes = [
            revision(self.constitution, principle, question, answer)
            for principle, question, answer in zip(principles, asked, said, strict=True)
        ]
        return [
            replace(one, principle=principle, critique=critic, revision=better, ended=answer.ended)
            for (one, principle), critic, (better, answer) in zip(
                pairs, said, self._say(wishes, seed + 1), strict=True
            )
        ]

    def _say(self, asked: Sequence[Conversation], seed: int) -> list[tuple[str, Answer]]:
        """What the critic says to each."""
        vocabulary = self.model.vocabulary
        template = ChatTemplate(vocabulary)
        ids = [template.prompt(one) for one in asked]
        room = self.model.config.context_length - self.max_tokens
        if (most := max(map(len, ids))) > room:
            raise InputError(
                f"constitution: a question to the critic has {most} tokens, and {room} have room beside "
                f"max_tokens {self.max_tokens}; shorten the templates or max_tokens"
            )
        given = answers_to(self.model, ids, self.max_tokens, self.temperature, seed)
        return [(vocabulary.decode(one.tokens).strip(), one) for one in given]
