"""Each optimizer computes what an independent implementation computes, in every layout and across a resume.

The references are torch's AdamW and Muon, transformers' Adafactor, and LAMB's formula; they step on a model
of one process. Layouts follow them to the tolerance of `toy.assert_follows`, over 20 steps.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import PipelineConfig
from pipeline.distributed import world
from pipeline.models.initialize import initialize
from pipeline.objectives.losses import spread, weighted_cross_entropy
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack
from pipeline.training.lr_schedule import learning_rate
from tests.distributed import toy
from tests.distributed.processes import leave_groups, run_world

STEPS, SAVED_AT = 20, 10
TRAIN: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw", "learning_rate": 2e-3},
    "adafactor": {"optimizer": "adafactor", "learning_rate": 1e-2, "clip_gradient_norm": 0.0},
    "lamb": {"optimizer": "lamb", "learning_rate": 1e-2},
    "muon": {"optimizer": "muon", "learning_rate": 2e-3},
}
LAYOUTS: list[dict[str, Any]] = [
    {"zero_stage": 0},
    {"zero_stage": 2},
    {"zero_stage": 3},
    {"zero_stage": 1, "offload": True},
    {"pipeline": 2, "zero_stage": 1},
    {"tensor": 2, "sequence": True, "zero_stage": 0},
]
Step = Callable[[float], None]


def settings(optimizer: str, **layout: Any) -> PipelineConfig:
    """The toy Llama, whose gated MLP fuses two matrices that are each cut alone."""
    return toy.config(toy.LLAMA | {"norm_bias": True}, steps=STEPS, train=TRAIN[optimizer], **layout)


class Lamb:
    """You et al. 2020, algorithm 2, on whole tensors."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters, self.step_count = parameters, 0
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]

    def step(self, rate: float) -> None:
        """One step with betas .9 and .999, epsilon 1e-6; matrices decay by .01 and are scaled."""
        self.step_count += 1
        for p, m, v in zip(self.parameters, self.m, self.v, strict=True):
            assert p.grad is not None
            m.copy_(0.9 * m + 0.1 * p.grad)
            v.copy_(0.999 * v + 0.001 * p.grad**2)
            r = (m / (1 - 0.9**self.step_count)) / ((v / (1 - 0.999**self.step_count)).sqrt() + 1e-6)
            if p.dim() > 1:
                r = r + 0.01 * p
                if p.norm() > 0 and r.norm() > 0:
                    r = r * (p.norm() / r.norm())
            p.sub_(rate * r)


def of_torch(*optimizers: torch.optim.Optimizer) -> Step:
    """Optimizers that step together at a rate."""

    def step(rate: float) -> None:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()

    return step


def reference(name: str, named: dict[str, nn.Parameter]) -> Step:
    """The optimizer of this name from elsewhere."""
    parameters = list(named.values())
    if name == "lamb":
        return torch.no_grad()(Lamb(parameters).step)
    if name == "adafactor":
        from transformers.optimization import Adafactor

        return of_torch(Adafactor(parameters, lr=1.0, relative_step=False, scale_parameter=True))
    hidden = [p for n, p in named.items() if name == "muon" and p.dim() == 2 and n.startswith("blocks.")]
    others = [p for p in parameters if not any(p is one for one in hidden)]
    adam = torch.optim.AdamW(
        [
            {"params": [p for p in others if p.dim() > 1], "weight_decay": 0.1},
            {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.95),
        eps=1e-8,
    )
    if name == "adamw":
        return of_torch(adam)
    return of_torch(adam, torch.optim.Muon(hidden, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"))


def references() -> dict[str, list[float]]:
    """What each reference computes, in the form of `toy.train`."""
    Tensor.bfloat16 = Tensor.float  # torch's Muon iterates in bfloat16, where this CPU has float32
    found = {}
    for name in TRAIN:
        given = settings(name)
        world.start_alone(given.seed)
        stack = Stack(model_layers(given, toy.VOCABULARY, torch.float32))
        named = dict(stack.named())
        initialize(named.items(), given.seed, 0, 1)
        found[name] = steps(given, stack, reference(name, named))
    return found


def steps(given: PipelineConfig, stack: Stack, step: Step) -> list[float]:
    """Loss and gradient norm of each step, and the loss on the held-out batch."""
    seen = []
    for number in range(STEPS):
        stack.zero_grad()
        value = batch_loss(stack, number % 2)
        value.backward()
        norm = nn.utils.clip_grad_norm_(stack.parameters(), given.train.clip_gradient_norm or float("inf"))
        step(learning_rate(number, given.train))
        seen += [float(value), float(norm)]
    return [*seen, float(batch_loss(stack, 1000))]


def batch_loss(stack: Stack, number: int) -> Tensor:
    """Mean over the weights of one of the toy's global batches."""
    batch = {name: torch.from_numpy(array) for name, array in toy.global_batch(number).items()}
    weights = batch["weights"] / batch["weights"].sum()
    logits_SBV = stack({"tokens": batch["tokens"]})["logits"]
    return spread(weighted_cross_entropy(logits_SBV, batch["targets"], weights))


def in_layouts(run: Path) -> list[tuple[str, list[float]]]:
    """Each optimizer in each layout, and from a checkpoint of tensor 2 under ZeRO 1 to data 2."""
    found = []
    for layout in LAYOUTS:
        for name in TRAIN:
            found.append((f"{name} {layout}", toy.train_on(settings(name, **layout))))
            leave_groups(layout=False)
        leave_groups()
    for name in TRAIN:
        saving = settings(name, tensor=2, zero_stage=1)
        found.append((f"{name} tensor 2", toy.train_on(saving, run / name, False, SAVED_AT)))
        leave_groups()
        for zero_stage in (1, 3):
            resumed = toy.train_on(settings(name, zero_stage=zero_stage), run / name, True)
            found.append((f"{name} resumed {zero_stage}", resumed))
            leave_groups()
        going_on = toy.train_on(saving, run / name, True)
        found.append((f"{name} resumed exactly", going_on))
        leave_groups()
    world.stop()
    return found


@pytest.fixture(scope="module")
def expected() -> dict[str, list[float]]:
    return run_world(1, references)[0]


def test_layouts_follow_independent_implementations(expected: dict[str, list[float]], tmp_path: Path) -> None:
    results = dict(run_world(2, in_layouts, tmp_path)[0])
    for what, result in results.items():
        name = what.split()[0]
        wanted = expected[name][2 * SAVED_AT :] if "resumed" in what else expected[name]
        toy.assert_follows(result, wanted, what)
        if "exactly" in what:
            assert result == results[f"{name} tensor 2"][2 * SAVED_AT :]


def test_the_optimizers_differ(expected: dict[str, list[float]]) -> None:
    """So that one taken for another would be seen; all of them learn."""
    ends = {name: losses[-3] for name, losses in expected.items()}
    assert len({round(end, 3) for end in ends.values()}) == len(TRAIN)
    assert all(end < expected[name][0] - 0.05 for name, end in ends.items())
