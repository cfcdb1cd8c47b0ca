"""What a training learns, beside its data: the model's layers, the loss, the models that help.

The plain case is the recipe's own objective. A stage that learns something else makes another `Task`: a head
of its own, the prefixes of the weights that are new with it, companions, and what they add to a batch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from pipeline.distributed.world import World
from pipeline.models.layer import Layer
from pipeline.objectives.batches import Batch, BatchSource
from pipeline.objectives.loss import Loss
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.companion import Companion
from pipeline.parallel.engine import Engine
from pipeline.training.job import Job

Companions = Mapping[str, Companion]
Notify = Callable[[str], None]


def unchanged(batches: list[Batch], companions: Companions) -> list[Batch]:
    """The batches as they are."""
    del companions
    return batches


class Experience(BatchSource, Protocol):
    """Batches that depend on what the model has learned: a training on its own outputs.

    All ranks call everything together.
    """

    def learned(self, metrics: dict[str, float]) -> dict[str, float]:
        """Take in the metrics of a step; gives further ones."""
        ...

    def validate(self) -> dict[str, float]:
        """The metrics of a validation."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, the same on all ranks: contiguous tensors that nobody writes to again."""
        ...

    def restore(self, state: dict[str, Tensor]) -> None:
        """Be what `state` said."""
        ...


def as_loaded(engine: Engine) -> str:
    """Nothing more is loaded."""
    del engine
    return ""


def nothing(engine: Engine, source: BatchSource) -> dict[str, Any]:
    """Nothing is measured."""
    del engine, source
    return {}


@dataclass(frozen=True)
class Task:
    """What the training loop is given."""

    layers: list[Layer]
    """The model that learns."""
    loss: Loss
    """Its loss, with the names of its labels and metrics."""
    new: tuple[str, ...] = ()
    """Prefixes of the weights that the checkpoint it starts from need not have."""
    companions: Companions = field(default_factory=dict)
    """Frozen models by name."""
    prepare: Callable[[list[Batch], Companions], list[Batch]] = unchanged
    """What is done to a rank's micro batches of a step, or as many of a validation, by all ranks together:
    labels that companions make are added on the last pipeline stage. Weights come with the data."""
    experience: Callable[[Engine, Notify], Experience] | None = None
    """What makes the batches where the model's own outputs decide them; None takes the stage's."""
    begin: Callable[[Engine], str] = as_loaded
    """What else is loaded where a run begins, behind the weights of another if any; tells of it in a line."""
    measure: Callable[[Engine, BatchSource], dict[str, float]] | None = None
    """What else is measured at a validation, by all ranks together, who all get the same."""
    best_by: str = ""
    """The measure of it, the larger the better, that ends the training early."""
    patience: int = 0
    """Validations without a better one after which it ends, with the weights that had the best; 0 never."""
    taken: Mapping[str, str] = field(default_factory=dict)
    """Prefixes of weights that a checkpoint to start from may have under other ones, with these."""
    fitted: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    """What makes a weight of another shape fit, by its name."""
    asked: Callable[[Engine], dict[str, float]] | None = None
    """The scores of the training's suites, by all ranks together, who all get the same."""
    finish: Callable[[Engine, BatchSource], dict[str, Any]] = nothing
    """What is measured once the last step is done, by all ranks together, for the counts of the receipt."""


MakeTask = Callable[[Job, World, torch.dtype], Task]


def own_objective(job: Job, world: World, dtype: torch.dtype) -> Task:
    """The recipe's model and objective."""
    del world
    layers = model_layers(job.config, job.vocabulary_size, dtype)
    return Task(layers, objective_of(job.config.objective))
