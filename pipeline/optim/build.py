"""A torch optimizer of a recipe's settings, for DeepSpeed to step."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config import OptimizerConfig
from pipeline.optim.groups import GroupKey, parameter_groups
from pipeline.optim.names import AVERAGE
from pipeline.optim.pieces import Piece, Reach, Share, Update
from pipeline.optim.rules import RULES


def build(
    parameters: Mapping[str, nn.Parameter], keys: Mapping[str, GroupKey], optim: OptimizerConfig
) -> torch.optim.Optimizer:
    """The optimizer over a stage's parameters; all but AdamW must be told their pieces (`bind`)."""
    groups = parameter_groups(parameters, keys)
    if optim.optimizer == "adamw":
        betas, rate = (optim.beta1, optim.beta2), optim.learning_rate
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(
            groups, lr=rate, betas=betas, eps=optim.epsilon, fused=True
        )
    else:
        optimizer = PieceOptimizer(groups, optim)
    if optim.average:
        optimizer.register_step_post_hook(partial(average_weights, decay=optim.average))
    return optimizer


def set_rate(optimizer: Any, rate: float) -> None:
    """Set the learning rate of a step, for each group by its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


@torch.no_grad()
def average_weights(optimizer: torch.optim.Optimizer, *_: Any, decay: float) -> None:
    """Move the average of what has just been updated towards it."""
    for group in optimizer.param_groups:
        for master in group["params"]:
            optimizer.state[master][AVERAGE].lerp_(master, 1 - decay)


class PieceOptimizer(torch.optim.Optimizer):
    """Updates what DeepSpeed hands it, be it parameters or flat partitions of them, piece by piece."""

    def __init__(self, groups: list[dict[str, Any]], optim: OptimizerConfig) -> None:
        super().__init__(groups, {"lr": optim.learning_rate})
        self.optim = optim
        self.reach = Reach(None, None, torch.device("cpu"))
        self.whole_states: dict[str, dict[str, Tensor]] = {}
        self._pieces: dict[int, list[Piece]] = {}

    def bind(self, pieces: Sequence[tuple[Tensor, list[Piece]]], reach: Reach) -> None:
        """Learn which pieces lie in each tensor that steps are made on, in the same order on all ranks."""
        self.reach, self._pieces = reach, {id(master): inside for master, inside in pieces}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Update every parameter of the groups that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            masters = [master for master in group["params"] if master.grad is not None]
            if not masters:
                continue
            for master in masters:
                self.state[master]["step"] += 1
            shares = [share for master in masters for share in self._shares(master)]
            how = Update(
                int(self.state[masters[0]]["step"]),
                group["lr"],
                group["weight_decay"],
                self.optim,
                self.reach,
            )
            RULES[group["rule"]].update(shares, how)

    def _shares(self, master: Tensor) -> list[Share]:
        state = {kind: flat for kind, flat in self.state[master].items() if kind != "step"}
        assert master.grad is not None
        return [
            Share(
                piece,
                run(master.detach(), piece),
                run(master.grad, piece),
                {kind: run(flat, piece) for kind, flat in state.items()} | self.whole_states[piece.name],
            )
            for piece in self._pieces[id(master)]
        ]


def run(flat: Tensor, piece: Piece) -> Tensor:
    """Where a piece lies in a tensor."""
    return flat.view(-1)[piece.offset : piece.offset + piece.length]
