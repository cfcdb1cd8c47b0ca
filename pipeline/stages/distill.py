"""The kind of stage that distils: a student pretrains with a frozen teacher's distribution beside the data.

student: {kind: distill, data: dataset, teacher: base, model: {layers: 2}, steps: 320}

DistilBERT is that of a BERT with `from_teacher: true, share: 0.714, positions: all, cosine: 0.143`.
"""

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from data_prep.contract.dataset import Dataset
from data_prep.contract.receipt import file_hash
from data_prep.contract.settings import InputError
from data_prep.contract.stages import RUN, Input, Stage
from pipeline.checkpoints.run_folder import INDEX, read_config
from pipeline.config import PipelineConfig, TrainConfig
from pipeline.conversion.family import Facts, differences
from pipeline.stages.pretrain import Pretrain
from pipeline.stages.training import DATA, START, check_tokenizer, config_of, find_start

if TYPE_CHECKING:
    import torch

    from pipeline.distributed.world import World
    from pipeline.objectives.batches import Batch, BatchSource
    from pipeline.parallel.engine import Engine
    from pipeline.training.job import Job
    from pipeline.training.task import Companions, MakeTask, Task


class DistillConfig(TrainConfig):
    later = TrainConfig.later | {"positions", "cosine", "from_teacher"}

    share: float = Field(0.5, ge=0.0, le=1.0)
    """Share of the teacher's distribution in the loss; the rest is the objective's own."""
    temperature: float = Field(2.0, gt=0.0, le=1e3)
    """What both models' logits are divided by where their distributions are compared."""
    positions: Literal["predicted", "all"] = "predicted"
    """Where they are: at the positions that the objective predicts, or at every token (DistilBERT)."""
    cosine: float = Field(0.0, ge=0.0)
    """Weight of 1 - cos of both models' last hidden states, a mean over all tokens."""
    from_teacher: bool = False
    """Whether the student starts with the teacher's weights: of its layers the first, the last and evenly
    between, in DistilBERT every second one."""


class Distill(Pretrain):
    """`distill`: the recipe's objective, and the teacher's distribution over every predicted token."""

    name, section, title = "distill", "", "Distillation"
    inputs = (DATA, Input("teacher", (RUN,)), START)
    settings = DistillConfig
    companions = ("teacher",)

    def job(self, stage: Stage) -> "Job":
        """Pretraining; the teacher reads and predicts what the student does."""
        job, config = super().job(stage), config_of(stage)
        if config.generator:
            raise InputError(
                f"{stage.name}: objective.kind {config.objective.kind} predicts no words, which is "
                "what a teacher is asked for; masked_lm does"
            )
        start, run = self._teacher(stage)
        theirs = read_config(run)
        ours_are = (config.model.architecture, config.objective.kind)
        if (theirs.model.architecture, theirs.objective.kind) != ours_are:
            raise InputError(
                f"{stage.name}.teacher: {run} is {theirs.model.architecture} on {theirs.objective.kind}, and "
                f"the student {ours_are[0]} on {ours_are[1]}; a teacher predicts what its student does"
            )
        settings = stage.settings
        assert isinstance(settings, DistillConfig)
        if settings.cosine and theirs.model.hidden_size != config.model.hidden_size:
            raise InputError(
                f"{stage.name}.cosine compares hidden states of one width; model.hidden_size is "
                f"{config.model.hidden_size}, and {theirs.model.hidden_size} in {run}"
            )
        if settings.from_teacher:
            check_start(stage, config, theirs, run)
        assert isinstance(job.dataset, Dataset)
        check_tokenizer(job.dataset, run)
        job.inputs["teacher"] = file_hash(start / INDEX)
        return job

    def task(self, stage: Stage, job: "Job") -> "MakeTask":
        """The objective's loss with the teacher's, a companion of its own checkpoint."""
        settings, (start, run) = stage.settings, self._teacher(stage)
        assert isinstance(settings, DistillConfig)

        def make(job: "Job", world: "World", dtype: "torch.dtype") -> "Task":
            from pipeline.checkpoints.companions import open_companion
            from pipeline.objectives.distillation import Distillation, with_last_states
            from pipeline.objectives.model import model_layers
            from pipeline.objectives.registry import objective_of
            from pipeline.training.task import Task, as_loaded

            config, objective = job.config, objective_of(job.config.objective)
            head = with_last_states(objective.head) if settings.cosine else None
            teacher = open_companion(start, run, world, config.parallel, dtype, head)
            every = settings.positions == "all"
            loss = Distillation(objective, settings.share, settings.temperature, every, settings.cosine)
            learner = model_layers(config, job.vocabulary.size, dtype, head)
            begin = partial(start_as, start=start, run=run, layers=config.model.layers)
            return Task(
                learner,
                loss,
                companions={"teacher": teacher},
                prepare=with_teacher,
                begin=begin if settings.from_teacher else as_loaded,
            )

        return make

    def batches(self, stage: Stage, job: "Job", world: "World") -> "BatchSource":
        """Samples of the dataset, with a weight for every token where those are compared."""
        settings = stage.settings
        assert isinstance(settings, DistillConfig)
        if settings.positions == "predicted" and not settings.cosine:
            return super().batches(stage, job, world)
        from pipeline.data.every_token import EveryToken

        assert isinstance(job.dataset, Dataset)
        pinned = world.device.type == "cuda"
        return EveryToken(job.config, job.dataset.folder, world.data_rank, world.data_size, pinned)

    def _teacher(self, stage: Stage) -> "tuple[Path, Path]":
        source = stage.source("teacher")
        assert source is not None
        return find_start(source)


def with_teacher(batches: "list[Batch]", companions: "Companions") -> "list[Batch]":
    """The batches with what the teacher gives as labels, on the last pipeline stage."""
    from pipeline.objectives.distillation import STATES, TEACHER

    outputs = companions["teacher"].forward(batches)
    if not outputs:
        return batches
    names = {TEACHER: "logits", STATES: "last_states"}
    return [
        batch | {label: flow[name] for label, name in names.items() if name in flow}
        for batch, flow in zip(batches, outputs, strict=True)
    ]


FREE = {"layers", "token_types", "layer_pattern", "unrotated_every"}
"""Keys in which a student that starts with its teacher's weights may differ."""


def check_start(stage: Stage, config: PipelineConfig, theirs: PipelineConfig, run: Path) -> None:
    """`InputError` where a student cannot start with its teacher's weights."""
    if stage.source(START.key) is not None:
        raise InputError(
            f"{stage.name}: a student starts with the weights of `from` or of its teacher; leave one out"
        )
    if config.model.architecture == "encoder_decoder" or config.model.shared_layers:
        raise InputError(f"{stage.name}.from_teacher is for one stack of layers that differ")
    found = differences(config.model, theirs.model, Facts(0))
    if config.model.positions == "learned" and config.position_table != theirs.position_table:
        found["max_positions"] = (config.position_table, theirs.position_table)
    for name, (ours, wanted) in found.items():
        if name not in FREE:
            raise InputError(
                f"{stage.name}.from_teacher needs the teacher's model but for its layers and token types; "
                f"model.{name} is {ours}, and {wanted} in {run}"
            )
    if config.model.layers > theirs.model.layers:
        raise InputError(
            f"{stage.name}.from_teacher: model.layers {config.model.layers} is more than the "
            f"{theirs.model.layers} of {run}"
        )


def start_as(engine: "Engine", start: Path, run: Path, layers: int) -> str:
    """Take the teacher's weights, of its layers those that are kept. Tells in a line."""
    from pipeline.checkpoints.format import Checkpoint
    from pipeline.checkpoints.saving import load_called
    from pipeline.objectives.distillation import kept_layers

    kept = kept_layers(layers, read_config(run).model.layers)

    def called(name: str) -> str:
        return re.sub(r"^blocks\.(\d+)\.", lambda found: f"blocks.{kept[int(found[1])]}.", name)

    left = load_called(engine, Checkpoint(start), called)
    taken = f"starting with the layers {', '.join(map(str, kept))} of {start}"
    return taken + (f"; not taken: {left}" if left else "")
