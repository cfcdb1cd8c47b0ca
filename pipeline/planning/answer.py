"""A plan over a whole training: hours, money and energy, with what failures and checkpoints cost."""

from dataclasses import dataclass
from typing import Any

from pipeline.costs import memory
from pipeline.planning.restarts import HOST_COPY, RESTART_SECONDS, Saving, saving
from pipeline.planning.search import Plan

HOUR = 3600.0


@dataclass(frozen=True)
class Terms:
    """What a plan is reckoned with beside the cluster."""

    tokens: float
    gpu_hours_per_failure: float
    write_speed: float
    """Bytes a second into storage, of all hosts together."""
    price: float | None = None
    """Of a GPU hour, in any currency."""


@dataclass(frozen=True)
class Answer:
    plan: Plan
    terms: Terms

    @property
    def checkpoint_bytes(self) -> int:
        config = self.plan.task.laid(self.plan.layout)
        return memory.checkpoint_bytes(config, config.train, self.plan.task.rows)

    @property
    def write_seconds(self) -> float:
        """How long a checkpoint is written behind the training."""
        return self.checkpoint_bytes / self.terms.write_speed

    @property
    def stall_seconds(self) -> float:
        """How long a step waits for one: until it is copied to the hosts."""
        return self.checkpoint_bytes / self.plan.cluster.devices / HOST_COPY

    @property
    def saving(self) -> Saving:
        between = self.terms.gpu_hours_per_failure / self.plan.cluster.devices * HOUR
        return saving(self.stall_seconds, between, RESTART_SECONDS + self.write_seconds, self.write_seconds)

    @property
    def hours(self) -> float:
        return self.terms.tokens / self.plan.tokens_per_second / self.saving.useful / HOUR

    @property
    def gpu_hours(self) -> float:
        return self.hours * self.plan.cluster.devices

    @property
    def cost(self) -> float | None:
        return None if self.terms.price is None else self.gpu_hours * self.terms.price

    @property
    def energy(self) -> float:
        """MWh of the GPUs alone, at their boards' full power."""
        return self.gpu_hours * self.plan.cluster.device.watts / 1e6

    def json(self) -> dict[str, Any]:
        """All of it."""
        plan = self.plan
        return {
            "layout": vars(plan.layout),
            "memory_bytes": {"total": plan.memory.total} | vars(plan.memory),
            "step_seconds": {"total": plan.step.seconds} | vars(plan.step),
            "tokens_per_second": plan.tokens_per_second,
            "mfu": plan.mfu,
            "hfu": plan.hfu,
            "days": self.hours / 24,
            "gpu_hours": self.gpu_hours,
            "cost": self.cost,
            "energy_mwh": self.energy,
        }
