"""How a way of reasoning asks a model: many prompts at once, with what it costs counted in tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol


@dataclass(frozen=True)
class Reply:
    """What a model said to one prompt."""

    text: str
    prompt_tokens: int
    tokens: int
    cut: bool = False
    """Whether the prompt was too long, and lost its beginning."""


class Ask(Protocol):
    """Puts prompts to a model."""

    def __call__(
        self, prompts: Sequence[str], max_tokens: int, stops: Sequence[str] = (), draw: int | None = None
    ) -> list[Reply]:
        """What follows each prompt, up to a text that stops it; greedy, or one of several drawn by `draw`."""
        ...


@dataclass(frozen=True)
class Solved:
    """One question with its answer and the way to it."""

    answer: str
    chain: str
    """All that was said on the way."""
    prompt_tokens: int = 0
    tokens: int = 0
    votes: tuple[str, ...] = ()
    """The answers that were voted among, in the order in which they were drawn; empty without a vote."""
    cut: bool = False
    """Whether a prompt on the way was too long."""

    def after(self, *replies: Reply) -> "Solved":
        """The same with the costs of what was asked for it."""
        return replace(
            self,
            prompt_tokens=self.prompt_tokens + sum(one.prompt_tokens for one in replies),
            tokens=self.tokens + sum(one.tokens for one in replies),
            cut=self.cut or any(one.cut for one in replies),
        )


Way = Callable[[Sequence[str], Ask], list[Solved]]
"""A way of reasoning: from questions, and how to ask, to answers."""


@dataclass(frozen=True)
class Drawing:
    """The same with every text drawn, by a number."""

    ask: Ask
    number: int

    def __call__(
        self, prompts: Sequence[str], max_tokens: int, stops: Sequence[str] = (), draw: int | None = None
    ) -> list[Reply]:
        """What follows each prompt, drawn."""
        return self.ask(prompts, max_tokens, stops, self.number if draw is None else draw)
