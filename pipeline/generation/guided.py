"""Images said token by token behind texts, by as much as a guidance weight goes by them.

Classifier-free guidance on logits (Ho and Salimans 2022; Yu et al. 2022, section 3): of the same image so far
the model says what comes next with the text and without it, and logits are u + w (c - u). Weight 1 is the
model with its text alone, which costs half as much.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipeline.generation.sampling import Sampling, choose

Ids = Sequence[int]


class Rows(Protocol):
    """What is asked of a session: `pipeline.generation.session.Session` is one."""

    def start(self, rows: Sequence[Ids], room: int) -> Tensor:
        """Logits [B, V] of what follows each row."""
        ...

    def step(self, tokens_B: Tensor) -> Tensor:
        """The same after one more token in every row."""
        ...


@dataclass(frozen=True)
class Guided:
    """A session of B rows with a text and then the same B rows without, as one of B rows."""

    both: Rows
    weight: float

    def start(self, rows: Sequence[Ids], room: int) -> Tensor:
        """Logits [B, V] of what follows each row."""
        return self._mixed(self.both.start([*rows, *rows], room))

    def step(self, tokens_B: Tensor) -> Tensor:
        """The same after one more token in every row."""
        return self._mixed(self.both.step(torch.cat((tokens_B, tokens_B))))

    def _mixed(self, logits: Tensor) -> Tensor:
        told_BV, untold_BV = logits.chunk(2)
        return untold_BV + self.weight * (told_BV - untold_BV)


def said(session: Rows, start: int, codes: int, sampling: Sampling, draws_BN: Tensor) -> Tensor:
    """[B, N] the tokens of B images, each below `codes`, all from the same `start`.

    `draws_BN` in [0, 1) are what each image draws from (`pipeline.generation.sampling.streams`).
    """
    rows, count = draws_BN.shape
    logits_BV = session.start([[start]] * rows, count - 1)
    found: list[Tensor] = []
    for number in range(count):
        if found:
            logits_BV = session.step(found[-1])
        found.append(choose(logits_BV[:, :codes], sampling, draws_BN[:, number].to(logits_BV.device)))
    return torch.stack(found, 1)
