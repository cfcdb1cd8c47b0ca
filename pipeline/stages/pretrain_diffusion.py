"""The kind of stage that learns to make pictures out of noise.

    dit:    {kind: pretrain_diffusion, data: pictures, objective: {diffusion: {condition: label}}}
    imagen: {kind: pretrain_diffusion, data: pictures, text: t5, objective: {diffusion: {condition: text}}}
    larger: {kind: pretrain_diffusion, data: pictures, text: t5,
             objective: {diffusion: {condition: text, low_size: 16}}}

`text` is a run of an encoder and a decoder whose encoder, frozen, reads captions: it has the tokenizer of
the pictures. A super-resolution stage (`low_size`) is shown a smaller picture. With `from` all weights of a
run of the same denoiser are what it begins with.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.pictures import ImageDataset
from data_prep.contract.receipt import Receipt, file_hash
from data_prep.contract.report import Curves, Section, StageReport, Text
from data_prep.contract.settings import InputError
from data_prep.contract.stages import PICTURES, RUN, Input, Stage
from pipeline.checkpoints.run_folder import INDEX, read_config
from pipeline.config import PipelineConfig
from pipeline.config.diffusion import DiffusionConfig
from pipeline.stages.pretrain_images import dataset_of
from pipeline.stages.training import (
    START,
    Training,
    config_of,
    find_start,
    objective_in,
    training_headlines,
)

if TYPE_CHECKING:
    import torch

    from pipeline.distributed.world import World
    from pipeline.objectives.batches import Batch, BatchSource
    from pipeline.training.job import Job
    from pipeline.training.task import Companions, MakeTask, Task

TEXT = Input("text", (RUN,), required=False)


class PretrainDiffusion(Training):
    """`pretrain_diffusion`: learns a denoiser, perhaps beside a frozen text encoder."""

    name, section = "pretrain_diffusion", "train"
    inputs: ClassVar[tuple[Input, ...]] = (Input("data", (PICTURES,)), TEXT, START)
    sections = ("vision", "objective", "data", "parallel", "tracking")
    inherited = ("vision",)
    companions = ("text",)
    speaks = False

    def job(self, stage: Stage) -> "Job":
        """Training on a dataset of pictures, whose captions a text encoder of the same tokenizer reads."""
        dataset = dataset_of(stage)
        inputs = {"dataset": dataset.manifest.fingerprint}
        config = fitted_config(stage, config_of(stage), dataset)
        start, source = None, stage.source(START.key)
        if source is not None:
            start, run = find_start(source)
            check_denoiser(config, run, source.label)
            inputs["start_from"] = file_hash(start / INDEX)
        if (text := encoder_of(stage)) is not None:
            inputs["text"] = file_hash(text[0] / INDEX)
            if dataset.manifest.tokenizer_sha256 != file_hash(text[1] / TOKENIZER):
                raise InputError(
                    f"{dataset.folder}: made with another tokenizer than {text[1]}; prepare one of them with "
                    "tokenizer.model of the other"
                )
        return replace(self.make_job(stage, None, inputs, start), config=config, dataset=dataset)

    def batches(self, stage: Stage, job: "Job", world: "World") -> "BatchSource":
        """Noised pictures, made in the background."""
        from pipeline.data.pretraining import PretrainingBatches

        assert job.dataset
        pinned = world.device.type == "cuda"
        return PretrainingBatches(job.config, job.dataset.folder, world.data_rank, world.data_size, pinned)

    def task(self, stage: Stage, job: "Job") -> "MakeTask":
        """The denoiser, with a text encoder beside it."""

        def make(job: "Job", world: "World", dtype: "torch.dtype") -> "Task":
            from pipeline.checkpoints.companions import open_companion
            from pipeline.objectives.model import model_layers
            from pipeline.objectives.registry import objective_of
            from pipeline.training.task import Task

            layers = model_layers(job.config, 0, dtype)
            objective = objective_of(job.config.objective)
            if (text := encoder_of(stage)) is None:
                return Task(layers, objective)
            encoder = open_companion(*text, world, job.config.parallel, dtype, encoder=True)
            return Task(layers, objective, companions={TEXT.key: encoder}, prepare=with_states)

        return make

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """What was learned, and curves."""
        words = [
            Text(f"Learned: {objective_in(receipt).describe()}."),
            Text("The denoiser is a list of transformer blocks (DiT); the published ones are U-Nets."),
        ]
        return StageReport(
            list(training_headlines(folder, receipt)),
            [Section(folder.name.capitalize(), [*words, Curves()])],
            places={folder.name: str(folder)},
        )


def with_states(batches: "list[Batch]", companions: "Companions") -> "list[Batch]":
    """The batches with what the text encoder makes of their captions, on every pipeline stage."""
    from pipeline.objectives.vision.diffusion import TEXT_STATES

    states = companions[TEXT.key].everywhere(batches, "memory")
    return [batch | {TEXT_STATES: one} for batch, one in zip(batches, states, strict=True)]


def encoder_of(stage: Stage) -> tuple[Path, Path] | None:
    """The checkpoint and the run of the text encoder; None where there is none.

    Raises `InputError` where it is no encoder with a decoder behind it.
    """
    source = stage.source(TEXT.key)
    if source is None:
        return None
    start, run = find_start(source)
    theirs = read_config(run)
    if theirs.vision is not None or theirs.model.architecture != "encoder_decoder":
        kind = "a model of images" if theirs.vision is not None else f"a {theirs.model.architecture}"
        raise InputError(
            f"stages.{stage.name}.text: {run} is {kind}; the encoder of an encoder_decoder reads captions"
        )
    return start, run


def fitted_config(stage: Stage, config: PipelineConfig, dataset: ImageDataset) -> PipelineConfig:
    """The configuration with what follows from the dataset and the text encoder."""
    objective = config.objective
    if objective.kind != "diffusion":
        raise InputError(
            f"stages.{stage.name}: pretrain_diffusion learns objective.kind diffusion; it is {objective.kind}"
        )
    diffusion, text = objective.diffusion, encoder_of(stage)
    if (diffusion.condition == "text") != (text is not None):
        raise InputError(
            f"stages.{stage.name}: objective.diffusion.condition text and a run as `text` go together; give "
            "both or neither"
        )
    if text is not None:
        diffusion = fitted(diffusion, "text_size", read_config(text[1]).model.hidden_size, str(text[1]))
    if diffusion.condition == "label":
        diffusion = fitted(diffusion, "classes", len(dataset.classes), str(dataset.folder))
    objective = objective.model_copy(update={"diffusion": diffusion})
    return config.model_copy(update={"objective": objective})


def fitted(diffusion: DiffusionConfig, name: str, there: int, where: str) -> DiffusionConfig:
    """The settings with a number that `where` has. `InputError` where they name another one."""
    if getattr(diffusion, name) not in (None, there):
        raise InputError(
            f"objective.diffusion.{name} is {getattr(diffusion, name)}, and {there} in {where}; leave it out"
        )
    return diffusion.model_copy(update={name: there})


def check_denoiser(config: PipelineConfig, run: Path, label: str) -> None:
    """`InputError` where a run has another denoiser than the recipe's, or none."""
    theirs = read_config(run)
    if theirs.objective.kind != "diffusion":
        raise InputError(
            f"{label}: it has learned {theirs.objective.kind}; a run of pretrain_diffusion is expected"
        )
    for section, ours, other in (
        ("vision", config.vision, theirs.vision),
        ("objective.diffusion", config.objective.diffusion, theirs.objective.diffusion),
    ):
        assert ours is not None
        for name in type(ours).model_fields:
            if name not in FREE and getattr(ours, name) != getattr(other, name):
                raise InputError(
                    f"{section}.{name} is {getattr(ours, name)} and {getattr(other, name)} in {label}; leave "
                    "the key out to have the checkpoint's"
                )


FREE = {"preset", "dropout", "dropped", "initial_std", "low_steps"}
"""Keys in which a run and the one it starts from may differ."""
