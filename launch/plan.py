"""`bloomery plan`: how a model is best laid out on a cluster, how long it trains and what that costs.

bloomery plan llama2-70b --gpu h100 --gpus 512 --tokens 2e12 --price 2.5

What it says is computed by `pipeline.planning`; nothing runs, and no GPU is needed.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from data_prep.contract.receipt import write_atomic
from data_prep.contract.report import short
from data_prep.contract.settings import InputError
from launch import recipe as recipes
from launch.doctor.fit import trainings, vocabulary_size
from launch.graph import graph
from launch.work import work_folder
from pipeline.config import TRAINS, DataConfig, ModelConfig, ObjectiveConfig, PipelineConfig
from pipeline.config.presets import PRESETS, suggestion
from pipeline.costs import flops
from pipeline.costs.devices import BY_NAME
from pipeline.objectives.registry import objective_of
from pipeline.planning import growth
from pipeline.planning.answer import Answer, Terms
from pipeline.planning.budget import best_for, loss_of
from pipeline.planning.cluster import Cluster
from pipeline.planning.search import Plan, Wanted, best
from pipeline.planning.task import Task
from pipeline.reports import plan as shown
from pipeline.reports.scaling import table_lines
from pipeline.stages.training import config_of

VOCABULARY, LENGTH = 50_257, 2048
"""Where neither a recipe nor an option says it: GPT-2's pieces, GPT-3's sequences."""
TOKENS_PER_PARAMETER = 20
"""Where nothing says the tokens: what Hoffmann et al. 2022 found best at their budgets."""
NUMBERS = "plan.json"


@dataclass(frozen=True)
class Question:
    """What is asked, as the command line has it; None where nothing was said."""

    model: str
    """A preset's name or a recipe's path."""
    gpu: str
    gpus: int
    tokens: float | None
    global_batch: int | None
    """Samples."""
    sequence_length: int | None
    vocabulary: int | None
    price: float | None
    """Of a GPU hour."""
    law: str
    budget: float | None
    """FLOPs."""
    gpu_hours_per_failure: float
    write_gigabytes: float
    """A second, of all hosts together into storage."""
    rows: int
    """Layouts to show."""
    sets: Sequence[str]


def plan(question: Question, wanted: Wanted, out: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Tell what there is to know and return it as numbers; with `out` the curves of scaling are drawn."""
    check(question)
    cluster = Cluster(BY_NAME[question.gpu], question.gpus)
    task, given = task_of(question)
    tokens = tokens_of(question, task, given)
    batch = question.global_batch or (
        given.train.global_batch if given else usual_batch(task, tokens, cluster)
    )
    wanted = replace(wanted, global_batch=batch)
    found = best(task, cluster, wanted)
    terms = Terms(tokens, question.gpu_hours_per_failure, 1e9 * question.write_gigabytes, question.price)
    answers = [Answer(one, terms) for one in found]
    first = answers[0]
    flops_of_law = 6.0 * task.active_parameters * tokens
    optimum = best_for(question.law, flops_of_law)
    twice = _twice(task, cluster, wanted, terms)
    active = task.active_parameters
    of_each = f", {short(active)} of them active," if active < task.parameters else ""
    say(
        f"{question.model}: {short(task.parameters)} parameters{of_each} with {task.rows:,} words, "
        f"{short(tokens)} tokens in samples of {task.tokens:,} and batches of {batch:,}, on "
        f"{cluster.devices:,} {question.gpu} in {task.precision}"
    )
    for line in table_lines(shown.layouts(answers[: question.rows])):
        say(line)
    say(shown.parts(first))
    say(shown.saved(first))
    say(f"energy: {first.energy:,.3g} MWh of the GPUs alone, {first.gpu_hours:,.0f} GPU hours")
    say(shown.doubled(first, twice) if twice else "twice the GPUs: no layout with this global batch")
    say(shown.optimum(optimum, active, tokens, loss_of(question.law, active, tokens)))
    numbers: dict[str, Any] = {
        "model": question.model,
        "parameters": task.parameters,
        "active_parameters": active,
        "tokens": tokens,
        "global_batch": batch,
        "gpu": question.gpu,
        "gpus": cluster.devices,
        "layouts": [one.json() for one in answers],
        "checkpoint": {"bytes": first.checkpoint_bytes, "write_seconds": first.write_seconds}
        | vars(first.saving),
        "twice_the_gpus": twice.json() if twice else None,
        "optimum": vars(optimum),
    }
    if out is not None:
        numbers["scaling"] = _draw(task, cluster, wanted, terms, out, say)
        write_atomic(out / NUMBERS, json.dumps(numbers, indent=1) + "\n")
    return numbers


def check(question: Question) -> None:
    """InputError for what no cluster and no training can be."""
    if question.gpu not in BY_NAME:
        raise InputError(f"--gpu {question.gpu}: there are {', '.join(BY_NAME)}")
    positive = {
        "gpus": question.gpus,
        "tokens": question.tokens,
        "global-batch": question.global_batch,
        "sequence-length": question.sequence_length,
        "vocabulary": question.vocabulary,
        "budget": question.budget,
        "gpu-hours-per-failure": question.gpu_hours_per_failure,
        "write-speed": question.write_gigabytes,
    }
    for name, value in positive.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name} {value:g}: it is a number above 0")
    if question.price is not None and not 0 <= question.price < math.inf:
        raise InputError(f"--price {question.price:g}: a GPU hour costs 0 or more")


def task_of(question: Question) -> tuple[Task, PipelineConfig | None]:
    """What is trained, and the recipe's settings where there is one."""
    if Path(question.model).suffix in (".yaml", ".yml"):
        config, pieces = _from_recipe(question)
        given: PipelineConfig | None = config
    else:
        config, pieces, given = _from_preset(question), VOCABULARY, None
    rows = flops.padded_vocabulary(question.vocabulary or pieces)
    lengths = objective_of(config.objective).shape(config.data).lengths
    device, precision = BY_NAME[question.gpu], config.train.precision
    if precision == "auto":
        precision = "bfloat16" if device.bfloat16 else "float16"
    if not device.peak(precision):
        raise InputError(f"train.precision {precision}: no speed of a {device.name} is known in it")
    return Task(config, lengths, rows, precision), given


def _from_preset(question: Question) -> PipelineConfig:
    if question.model not in PRESETS:
        raise InputError(
            f"{question.model}: neither a recipe (a .yaml file) nor a preset{suggestion(question.model)}"
        )
    if question.sets:
        raise InputError("--set overrides the keys of a recipe; a preset has its own options")
    model = ModelConfig(preset=question.model)
    kind = TRAINS[model.architecture][0]
    length = question.sequence_length or model.max_positions or LENGTH
    try:
        objective = ObjectiveConfig.model_validate({"kind": kind})
        data = DataConfig(sequence_length=length)
        return PipelineConfig(name=question.model, model=model, objective=objective, data=data)
    except ValidationError as error:
        raise InputError(
            f"{question.model}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
        ) from None


def _from_recipe(question: Question) -> tuple[PipelineConfig, int]:
    sets = list(question.sets)
    if question.sequence_length:
        sets.append(f"data.sequence_length={question.sequence_length}")
    recipe = recipes.load(Path(question.model), sets)
    found = graph(recipe, work_folder(recipe, None))
    stages = trainings(recipe, found)
    if not stages:
        raise InputError(f"{question.model}: no stage of it trains")
    return config_of(stages[0]), vocabulary_size(recipe, found, stages[0])


def tokens_of(question: Question, task: Task, given: PipelineConfig | None) -> float:
    """Of the whole training: as asked, for the budget, as in the recipe, or the usual share of the size."""
    if question.tokens is not None and question.budget is not None:
        raise InputError("give --tokens or --budget, not both")
    if question.tokens is not None:
        return question.tokens
    if question.budget is not None:
        return question.budget / 6 / task.active_parameters
    if given is not None:
        return float(given.train.samples_before(given.train.steps) * task.tokens)
    return float(TOKENS_PER_PARAMETER * task.active_parameters)


def usual_batch(task: Task, tokens: float, cluster: Cluster) -> int:
    """Samples in a step by DeepSeek's rule for the best batch, .2920 C^.3271 tokens (Bi et al. 2024, eq. 1).

    Rounded so that it divides by the GPUs and by micro batches: a GPU has 4 to 8 times a power of two of
    samples where there are as many. Down to a power of two where there are fewer samples than GPUs.
    """
    samples = 0.2920 * (tokens / task.tokens * task.sample_flops) ** 0.3271 / task.tokens
    if samples >= cluster.devices:
        unit = cluster.devices * (1 << max(0, math.floor(math.log2(samples / cluster.devices)) - 2))
        return round(samples / unit) * unit
    return 1 << max(0, math.floor(math.log2(max(1.0, samples))))


def _twice(task: Task, cluster: Cluster, wanted: Wanted, terms: Terms) -> Answer | None:
    try:
        return Answer(best(task, replace(cluster, devices=2 * cluster.devices), wanted)[0], terms)
    except InputError:
        return None  # the batch does not divide by so many


def _draw(
    task: Task, cluster: Cluster, wanted: Wanted, terms: Terms, out: Path, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The curves to 10,240 GPUs: images, a table, numbers."""

    def useful(one: Plan) -> float:
        return Answer(one, terms).saving.useful

    strong = growth.grow(task, cluster, wanted, useful, weak=False)
    weak = growth.grow(task, cluster, wanted, useful, weak=True)
    for line in table_lines(shown.growth(strong, weak)):
        say(line)
    for place in shown.draw(growth.charts(strong, weak), out):
        say(f"image: {place}")
    return [
        {"scaling": name, "gpus": one.plan.cluster.devices, "tokens_per_second_per_gpu": one.per_gpu}
        | {"shares": one.shares()}
        for name, points in (("strong", strong), ("weak", weak))
        for one in points
    ]
