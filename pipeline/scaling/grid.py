"""A study's trainings: every size for every budget, and the largest ones that are predicted first.

Each is a run of its own whose learning rate comes down to its own last step (Hoffmann et al. 2022, section
3.1 and figure A1: a schedule that ends later leaves the loss too high, so that moments of a longer run are no
runs of a shorter budget). One constant-rate trunk with short decays for each budget would read some 30 %
fewer tokens where budgets double; it would need optimizer states that one stage takes over from another, and
every size would be one long chain of stages where these are independent and run side by side.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.contract.settings import InputError
from pipeline.config import DataConfig, ModelConfig, ObjectiveConfig, OptimizerConfig
from pipeline.config.study import SizeRange, StudyConfig
from pipeline.costs.flops import embedding_parameters, padded_vocabulary, parameters, training_per_sample
from pipeline.objectives.registry import objective_of
from pipeline.scaling.shapes import named, shaped, spread
from pipeline.scaling.training_rules import batch_by_deepseek, rate_by_rule, rate_by_width

FEWEST_CELLS = 7
"""Trainings in a grid: the parametric form has five coefficients, and some runs must be left to check it."""
FEWEST_STEPS = 20
"""Of a training: with fewer there is no learning rate that comes down."""


@dataclass(frozen=True)
class Base:
    """What the recipe says that all trainings of its study share."""

    study: StudyConfig
    model: ModelConfig
    objective: ObjectiveConfig
    data: DataConfig
    train: OptimizerConfig
    vocabulary: int
    """Pieces."""
    seed: int

    @property
    def rows(self) -> int:
        """Of the word table."""
        return padded_vocabulary(self.vocabulary)

    @property
    def positions(self) -> int:
        """Rows of the table of learned positions."""
        return self.model.max_positions or self.data.sequence_length


@dataclass(frozen=True)
class Cell:
    """One training."""

    name: str
    """Of its stage: 2x64-1e12."""
    model: ModelConfig
    parameters: int
    non_embedding: int
    tokens: int
    """Read, by an encoder and its decoder both."""
    flops: float
    """Model FLOPs of the training by `pipeline.costs.flops`: with the head, without embedding lookups."""
    steps: int
    batch: int
    """Sequences."""
    learning_rate: float
    seed: int
    held_out: bool = False
    """Whether it is predicted before it is trained."""

    @property
    def size(self) -> str:
        """Layers x width."""
        return f"{self.model.layers}x{self.model.hidden_size}"

    @property
    def columns(self) -> Mapping[str, float]:
        """Its row in a table of runs, but for the loss."""
        return {
            "parameters": self.parameters,
            "non_embedding_parameters": self.non_embedding,
            "tokens": self.tokens,
            "flops": self.flops,
        }


def grid(base: Base) -> list[Cell]:
    """The trainings, each size from its smallest budget to its largest, those that are predicted last.

    `InputError` where no law could be fitted to them, or a budget is too small for a training.
    """
    study = base.study
    shapes = (
        spread(study.sizes, base.model, study.head_size, base.rows, base.positions)
        if isinstance(study.sizes, SizeRange)
        else [named(one) for one in study.sizes]
    )
    check(shapes, study.budgets)
    every = (fitting(base, shape, budget) for shape in shapes for budget in sorted(study.budgets))
    cells = [one for one in every if one is not None]
    left = "; study.tokens_per_parameter leaves too few" if study.tokens_per_parameter else ""
    sizes = len({one.size for one in cells})
    if sizes < 3 or len(cells) < FEWEST_CELLS:
        raise InputError(
            f"study: {len(cells)} trainings of {sizes} sizes are too few for a law of "
            f"both sizes and tokens, which needs {FEWEST_CELLS} of 3{left}"
        )
    repeated = [renamed(middle(cells), base.seed + number) for number in range(1, study.repeats + 1)]
    last = [cell(base, named(one.size), one.budget, held_out=True) for one in study.largest]
    found = [*cells, *repeated, *last]
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"study: {name} is named twice; each size and budget once")
    most = max(one.flops for one in cells)
    for one in last:
        if one.flops <= most:
            raise InputError(
                f"study.largest {one.name} has {one.flops:.3g} FLOPs, no more than the {most:.3g} of the "
                "grid; what is predicted lies beyond it"
            )
    return found


def check(shapes: list[tuple[int, int]], budgets: list[float]) -> None:
    """`InputError` for a grid that no law can be fitted to."""
    if len(set(shapes)) < 3:
        raise InputError(f"study.sizes: {len(set(shapes))} different sizes; a law of the size needs 3")
    if len(set(budgets)) < 2:
        raise InputError("study.budgets: one budget; a law of the data needs 2, and more say how sure it is")


def middle(cells: list[Cell]) -> Cell:
    """The training that is nearest to the mean of compute and size, in logs."""
    points = np.log([(one.flops, one.parameters) for one in cells])
    return cells[int(((points - points.mean(0)) ** 2).sum(1).argmin())]


def fitting(base: Base, shape: tuple[int, int], budget: float) -> Cell | None:
    """One training; None where it would have too few or too many tokens for its parameters."""
    bounds = base.study.tokens_per_parameter
    if bounds is not None:
        model = shaped(base.model, *shape, base.study.head_size)
        ratio = samples_of(base, model, budget) * tokens_in_sample(base) / count_of(base, model)
        if not bounds[0] <= ratio <= bounds[1]:
            return None
    return cell(base, shape, budget)


def tokens_in_sample(base: Base) -> int:
    """What a model reads of a sample, an encoder and its decoder both."""
    lengths = objective_of(base.objective).shape(base.data).lengths
    return lengths.inputs + lengths.targets


def flops_in_sample(base: Base, model: ModelConfig) -> float:
    """Model FLOPs of training on one sample."""
    lengths = objective_of(base.objective).shape(base.data).lengths
    return training_per_sample(model, lengths, base.rows, base.objective)


def samples_of(base: Base, model: ModelConfig, budget: float) -> float:
    """Samples that a budget pays for."""
    in_flops = base.study.budget_in == "flops"
    return budget / (flops_in_sample(base, model) if in_flops else tokens_in_sample(base))


def count_of(base: Base, model: ModelConfig) -> int:
    """All parameters."""
    return parameters(model, base.rows, base.positions, base.objective)


def cell(base: Base, shape: tuple[int, int], budget: float, held_out: bool = False) -> Cell:
    """One training. `InputError` where the budget is too small."""
    study, read = base.study, tokens_in_sample(base)
    model = shaped(base.model, *shape, study.head_size)
    per_sample, samples = flops_in_sample(base, model), samples_of(base, model, budget)
    flops = samples * per_sample
    batch = batch_by_deepseek(flops, read) if study.batch == "deepseek" else study.batch
    steps = round(samples / batch)
    name = f"{shape[0]}x{shape[1]}-{short_number(budget)}"
    if steps < FEWEST_STEPS:
        raise InputError(
            f"study: {name} would be {steps} steps of {batch} sequences; a training needs {FEWEST_STEPS}, so "
            "raise the budget, lower study.batch, or leave it out by study.tokens_per_parameter"
        )
    count = count_of(base, model)
    rest = count - embedding_parameters(model, base.rows, base.positions)
    rule = study.learning_rate
    rate = (
        rate_by_rule(rule, flops, rest, shape[1], batch)
        if isinstance(rule, str)
        else rate_by_width(rule, shape[1])
    )
    done = steps * batch
    return Cell(
        name, model, count, rest, done * read, done * per_sample, steps, batch, rate, base.seed, held_out
    )


def renamed(one: Cell, seed: int) -> Cell:
    """The same training with another seed."""
    return Cell(**{**vars(one), "name": f"{one.name}-seed{seed}", "seed": seed})


def short_number(value: float) -> str:
    """A number as part of a folder's name.

    >>> short_number(1.6e13), short_number(2_500_000)
    ('1p6e13', '2p5e6')
    """
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits.rstrip('0').rstrip('.').replace('.', 'p')}e{int(exponent)}"


def stage_keys(one: Cell, base: Base) -> dict[str, Any]:
    """A training's keys as those of a stage, over the recipe's sections `model` and `train`."""
    shape = ("layers", "hidden_size", "heads", "head_size", "encoder_layers", "feed_forward_size")
    model = one.model.model_dump(mode="json")
    study = base.study
    return {
        "model": {key: model[key] for key in shape if model[key] is not None},
        "steps": one.steps,
        "global_batch": one.batch,
        "micro_batch": micro_batch(one.batch, base.train.micro_batch),
        "learning_rate": one.learning_rate,
        "minimum_learning_rate": study.minimum_share * one.learning_rate,
        "warmup_steps": round(study.warmup_share * one.steps),
        "validate_every": max(1, one.steps // study.curve_points),
        "seed": one.seed,
    }


def micro_batch(batch: int, most: int) -> int:
    """The largest part of a batch that divides it and is not above the recipe's micro batch."""
    return max(size for size in range(1, min(batch, most) + 1) if batch % size == 0)
