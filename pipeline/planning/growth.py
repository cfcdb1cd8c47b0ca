"""How a training scales to 10,000 GPUs: strongly, with one global batch; weakly, with a batch that grows.

At each number of GPUs the fastest layout that fits is taken, so the curves are a planner's, not one layout's.
What a GPU does is counted with what failures cost, which grow with the number of GPUs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from data_prep.contract.report import Line, Lines
from data_prep.contract.settings import InputError
from pipeline.planning.cluster import Cluster
from pipeline.planning.search import Plan, Wanted, best
from pipeline.planning.task import Task

MOST = 10_240
LOSSES = ("tensor parallel", "pipeline", "data parallel", "stragglers", "restarts")


@dataclass(frozen=True)
class Point:
    plan: Plan
    useful: float
    """Share of the time that failures and checkpoints leave."""

    @property
    def per_gpu(self) -> float:
        """Tokens a second of one GPU, in the long run."""
        return self.useful * self.plan.tokens_per_second / self.plan.cluster.devices

    def shares(self) -> dict[str, float]:
        """Of all time, by what it goes to."""
        step = self.plan.step
        parts = {
            "tensor parallel": step.tensor,
            "pipeline": step.transfers + step.bubble,
            "data parallel": step.data,
            "stragglers": step.stragglers,
        }
        found = {name: self.useful * seconds / step.seconds for name, seconds in parts.items()}
        found["restarts"] = 1 - self.useful
        return {"computing": 1 - sum(found.values())} | found


def counts(first: int, most: int = MOST) -> list[int]:
    """Numbers of GPUs, each four times the one before, and at last `most`.

    >>> counts(8)
    [8, 32, 128, 512, 2048, 10240]
    """
    found = []
    while first < most / 4:
        found.append(first)
        first *= 4
    return [*found, most]


def grow(
    task: Task, cluster: Cluster, wanted: Wanted, useful: Callable[[Plan], float], weak: bool
) -> list[Point]:
    """The best plan at each number of GPUs from a host's to 10,240, where there is one.

    Weakly a GPU has the samples that it has in `cluster`; the batch divides by the GPUs that are used.
    """
    each = wanted.global_batch / cluster.devices
    found = []
    for devices in counts(cluster.device.per_host):
        batch = max(devices, round(each * devices)) if weak else wanted.global_batch
        try:
            plans = best(task, replace(cluster, devices=devices), replace(wanted, global_batch=batch))
        except InputError:
            continue  # too few GPUs for the model, or too many for the batch
        found.append(Point(plans[0], useful(plans[0])))
    return found


def charts(strong: Sequence[Point], weak: Sequence[Point]) -> list[Lines]:
    """Tokens a second of a GPU over the number of GPUs, and what its time is lost to."""
    curves = [("one global batch", strong), ("a batch that grows", weak)]
    speed = [
        Line(label, _devices(points), [one.per_gpu for one in points]) for label, points in curves if points
    ]
    found = [
        Lines("tokens_per_gpu", "GPUs", "tokens a second of a GPU", speed, log_x=True),
        Lines(
            "tokens_together",
            "GPUs",
            "tokens a second",
            [
                Line(label, _devices(points), [one.per_gpu * one.plan.cluster.devices for one in points])
                for label, points in curves
                if points
            ],
            log_x=True,
            log_y=True,
        ),
    ]
    for name, points in (("strong", strong), ("weak", weak)):
        if points:
            lines = [Line(part, _devices(points), [one.shares()[part] for one in points]) for part in LOSSES]
            found.append(Lines(f"{name}_shares", "GPUs", "share of the time lost to", lines, log_x=True))
    return found


def _devices(points: Sequence[Point]) -> list[float]:
    return [one.plan.cluster.devices for one in points]
