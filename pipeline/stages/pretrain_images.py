"""The kind of stage that learns from images: classes, hidden patches, or which text goes with which.

    vit:    {kind: pretrain_images, data: pictures, objective: {kind: image_classes, mixup: 0.2}}
    mae:    {kind: pretrain_images, data: pictures, objective: {kind: masked_patches}}
    tuned:  {kind: pretrain_images, from: mae, data: pictures, objective: {kind: image_classes}}
    probe:  {kind: pretrain_images, from: mae, data: pictures, objective: {kind: image_classes}, probe: true}
    codes:  {kind: pretrain_images, data: pictures, objective: {kind: quantised_patches}}
    parti:  {kind: pretrain_images, data: tokens, objective: {kind: image_tokens}}
    reason: {kind: pretrain_images, tower: clip, data: pictures, freeze: ["image.*"],
             objective: {kind: image_rationales, says: rationale}}

    words:  {kind: pretrain_images, data: pictures, objective: {kind: image_answers, blind: true}}
    joined: {kind: pretrain_images, from: words, tower: clip, data: pictures, freeze: ["[!p]*"],
             objective: {kind: image_answers}}
    seeing: {kind: pretrain_images, from: joined, data: pictures, freeze: ["image.*"]}

What a run to start from has learned of images, the weights whose names begin with `image.`, is taken; what
another objective has behind them is new. A larger image gets its positions by interpolation.

Where images are in a text, the run to start from is the one that reads the text, and `tower` may name another
one that has learned of images.
"""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from data_prep.contract.pictures import VALIDATION, ImageDataset
from data_prep.contract.receipt import Receipt, file_hash
from data_prep.contract.report import Curves, Headline, Section, StageReport, Table, Text
from data_prep.contract.settings import InputError
from data_prep.contract.stages import PICTURES, RUN, Input, Source, Stage
from pipeline.checkpoints.run_folder import CLASSES, INDEX, read_config
from pipeline.config import OptimizerConfig, PipelineConfig
from pipeline.config.objective import IN_DECODER, IN_TEXT, TRAINS
from pipeline.config.view import ViewConfig
from pipeline.evaluation.intervals import wilson
from pipeline.stages.training import (
    START,
    Training,
    check_model,
    config_of,
    find_start,
    objective_in,
    training_headlines,
)

if TYPE_CHECKING:
    import torch

    from pipeline.distributed.world import World
    from pipeline.objectives.batches import BatchSource
    from pipeline.training.job import Job
    from pipeline.training.task import MakeTask, Task

SAME = (
    *("patch_size", "layers", "hidden_size", "heads", "feed_forward_size", "activation", "norm_epsilon"),
    *("class_token", "positions", "embedding_norm", "patch_bias", "mean", "std"),
)
"""Keys of `vision` in which a run and the one it starts from do not differ."""
BEHIND = {
    "image_classes": ("classifier.",),
    "masked_patches": ("decoder.",),
    "contrastive": (
        "image_projection.",
        *("words.", "positions.", "blocks.", "norm.", "text_projection."),
        "joined.",
    ),
    "image_answers": ("projector.", "image."),
    "image_pages": ("resampler.", "gated.", "image."),
    "image_rationales": ("projector.", "fusion.", "image."),
    "quantised_patches": ("quantiser.", "decoder."),
    "image_tokens": ("words.", "codes.", "encoder.", "decoder.", "head."),
}
"""Prefixes of the weights that each objective has behind the image tower."""
MEASURES = {
    "accuracy": "likeliest class is right",
    "top5": "right class among the five likeliest",
    "image_to_text": "nearest text of the batch is the image's own",
    "text_to_image": "nearest image of the batch is the text's own",
}


TOWER = Input("tower", (RUN,), required=False)


class ImageTrainConfig(OptimizerConfig):
    """Training on images."""

    probe: bool = False
    """Whether only what is behind the image tower learns: a linear probe of what a run has learned."""


class PretrainImages(Training):
    """`pretrain_images`: learns an objective on images, from drawn weights or from those of another run."""

    name, section, title = "pretrain_images", "train", ""
    inputs: ClassVar[tuple[Input, ...]] = (Input("data", (PICTURES,)), START, TOWER)
    sections = ("vision", "model", "objective", "data", "parallel", "tracking")
    inherited = ("vision", "model")
    settings = ImageTrainConfig

    def job(self, stage: Stage) -> "Job":
        """Training on a dataset of pictures; a run to start from has the same image tower."""
        dataset = dataset_of(stage)
        config, start = config_of(stage), None
        check_objective(stage, config)
        config = fitted_config(stage, config, dataset)
        inputs = {"dataset": dataset.manifest.fingerprint}
        source = stage.source(START.key)
        if source is not None:
            start, run = find_start(source)
            check = check_words if config.objective.kind in IN_TEXT else check_tower
            check(config, run, source.label)
            inputs["start_from"] = file_hash(start / INDEX)
        elif config.train.freeze and isinstance(stage.settings, ImageTrainConfig) and stage.settings.probe:
            raise InputError(f"stages.{stage.name}.probe: there is no run in `from` whose tower is probed")
        if (tower := stage.source(TOWER.key)) is not None:
            checkpoint, run = tower_of(config, tower)
            check_tower(config, run, tower.label)
            inputs["tower"] = file_hash(checkpoint / INDEX)
        job = self.make_job(stage, None, inputs, start)
        notes = {CLASSES: json.dumps(dataset.classes)} if config.objective.kind == "image_classes" else {}
        return replace(job, config=config, dataset=dataset, notes=notes)

    def batches(self, stage: Stage, job: "Job", world: "World") -> "BatchSource":
        """Pictures, decoded and augmented in the background."""
        from pipeline.data.pretraining import PretrainingBatches

        assert job.dataset
        pinned = world.device.type == "cuda"
        return PretrainingBatches(job.config, job.dataset.folder, world.data_rank, world.data_size, pinned)

    def task(self, stage: Stage, job: "Job") -> "MakeTask":
        """The objective's layers; of a run to start from the tower alone has to be there."""
        tower = stage.source(TOWER.key)
        seen = None if tower is None else tower_of(job.config, tower)[0]
        validated = min(job.optim.validation_samples, dataset_of(stage).split(VALIDATION).total("samples"))

        def make(job: "Job", world: "World", dtype: "torch.dtype") -> "Task":
            from pipeline.checkpoints.format import Checkpoint
            from pipeline.checkpoints.saving import load_beginning
            from pipeline.evaluation.images import codebook
            from pipeline.models.vision.patches import resized
            from pipeline.objectives.model import model_layers
            from pipeline.objectives.registry import objective_of
            from pipeline.training.task import Task, as_loaded

            check_whole_batch(job.config, world.data_size)
            vision = job.config.vision
            assert vision is not None
            stretch = partial(resized, tokens=vision.tokens, class_token=vision.class_token)
            learned = vision.positions == "learned"
            quantiser = vision.quantiser if job.config.objective.kind == "quantised_patches" else None
            return Task(
                model_layers(job.config, job.vocabulary_size, dtype),
                objective_of(job.config.objective),
                new=BEHIND[job.config.objective.kind],
                fitted={"image.positions.weight": stretch} if learned else {},
                begin=as_loaded
                if seen is None
                else lambda engine: load_beginning(engine, Checkpoint(seen), "image."),
                measure=partial(codebook.measure, codes=quantiser.codes) if quantiser else None,
                finish=lambda engine, source: {"validated": validated},
            )

        return make

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """What was learned, measured on held-out images, and curves."""
        found = measured(receipt)
        rows = [[MEASURES[name], *interval_cells(*about)] for name, about in found.items()]
        words = Text(f"Learned: {objective_in(receipt).describe()}.{codes_line(receipt)}")
        table = (
            [Table(["on held-out images", "share", "95 % interval"], rows, frozenset({1, 2}))] if rows else []
        )
        lead = [
            Headline(name, f"{share:.1%}", f"{folder.name}, {low:.1%} to {high:.1%}")
            for name, (share, low, high) in found.items()
        ]
        return StageReport(
            [*lead[:1], *training_headlines(folder, receipt)],
            [Section(folder.name.capitalize(), [words, *table, Curves()])],
            figures={folder.name: {name: share for name, (share, _, _) in found.items()}},
            places={folder.name: str(folder)},
            commands=["bloomery inspect RUN", "bloomery export RUN my-model"],
        )


def dataset_of(stage: Stage) -> ImageDataset:
    """The pictures that a stage reads. `InputError` where they are not there."""
    source = stage.source("data")
    assert source is not None
    if source.stage and not source.path.is_dir():
        raise InputError(f"{source.place}: no pictures yet; run the stage {source.stage} first")
    return ImageDataset(source.path)


def check_objective(stage: Stage, config: PipelineConfig) -> None:
    """`InputError` where another kind of stage learns the objective."""
    kind = config.objective.kind
    if kind not in BEHIND:
        raise InputError(
            f"stages.{stage.name}: objective.kind {kind} is learned by a stage of another kind; "
            f"{stage.kind} learns {', '.join(BEHIND)}"
        )


def fitted_config(stage: Stage, config: PipelineConfig, dataset: ImageDataset) -> PipelineConfig:
    """The configuration with what follows from the dataset and from `probe`."""
    vision, train = config.vision, config.train
    assert vision is not None
    if config.objective.kind == "image_classes":
        count = len(dataset.classes)
        if vision.classes not in (None, count):
            raise InputError(
                f"vision.classes is {vision.classes}, and {dataset.folder} has {count} classes; leave it out"
            )
        vision = vision.model_copy(update={"classes": count})
    if config.objective.kind == "contrastive" and vision.joint_size is None:
        raise InputError(
            "vision.joint_size is missing; objective.kind contrastive needs the width of the space that "
            "images and texts share, such as 512"
        )
    if config.objective.kind == "image_tokens":
        whole = ViewConfig(size=vision.side, crop="centre", flip=0.0)  # a map of tokens is taken as it is
        config = config.model_copy(update={"data": config.data.model_copy(update={"view": whole})})
    if isinstance(stage.settings, ImageTrainConfig) and stage.settings.probe:
        train = train.model_copy(update={"freeze": [*train.freeze, "image.*"]})
    return config.model_copy(update={"vision": vision, "train": train})


def check_tower(config: PipelineConfig, run: Path, label: str) -> None:
    """`InputError` where a run has another image tower than the recipe's, or none."""
    theirs, ours = read_config(run).vision, config.vision
    assert ours is not None
    if theirs is None:
        raise InputError(f"{label}: a model without an image tower; a run of pretrain_images is expected")
    for name in SAME:
        if getattr(ours, name) != getattr(theirs, name):
            raise InputError(
                f"vision.{name} is {getattr(ours, name)} and {getattr(theirs, name)} in {label}; leave the "
                "key out to have the checkpoint's"
            )
    if config.objective.kind == "contrastive" and read_config(run).objective.kind == "contrastive":
        check_model(config, run, label)


def tower_of(config: PipelineConfig, source: Source) -> tuple[Path, Path]:
    """The checkpoint that an image tower is taken from, and its run. `InputError` where none is wanted."""
    if config.objective.kind not in IN_TEXT or config.objective.blind:
        raise InputError(
            f"tower: {source.label} would be of no use; objective.kind {' or '.join(IN_TEXT)} that is not "
            "blind has a tower beside what it starts from"
        )
    return find_start(source)


def check_words(config: PipelineConfig, run: Path, label: str) -> None:
    """`InputError` where a run to start from does not read texts as the recipe's model does."""
    theirs = read_config(run)
    both = config.objective.kind == "image_rationales"
    known = ("image_rationales", *TRAINS["encoder_decoder"]) if both else ("causal_lm", *IN_DECODER)
    if theirs.objective.kind not in known:
        raise InputError(
            f"{label}: it has learned {theirs.objective.kind}; {' or '.join(known)} reads the texts that "
            f"{config.objective.kind} has images in (name what has learned of images as `tower`)"
        )
    check_model(config, run, label)
    if theirs.vision is not None and not theirs.objective.blind and not config.objective.blind:
        check_tower(config, run, label)


def check_whole_batch(config: PipelineConfig, data_size: int) -> None:
    """`InputError` where pairs would be told from those of a micro batch alone."""
    if config.objective.kind == "contrastive" and config.train.accumulation(data_size) > 1:
        whole = config.train.global_batch // data_size
        raise InputError(
            f"micro_batch {config.train.micro_batch}: objective.kind contrastive tells a pair from all "
            f"others of the global batch {config.train.global_batch}, which {data_size} ranks "
            f"have at once with micro_batch {whole}"
        )


def measured(receipt: Receipt) -> dict[str, tuple[float, float, float]]:
    """Shares at the last validation with their 95 % intervals."""
    count = int(receipt.counts.get("validated", 0))
    shares = {name: receipt.counts.get(f"validation_{name}") for name in MEASURES}
    return {
        name: (float(share), *wilson(float(share) * count, count))
        for name, share in shares.items()
        if share is not None and count
    }


def codes_line(receipt: Receipt) -> str:
    """How much of a quantiser's codebook held-out images use; empty for what has none."""
    counts = receipt.counts
    if "validation_codes_used" not in counts:
        return ""
    codes = receipt.config["vision"]["quantiser"]["codes"]
    return (
        f" Of its {codes:,} codes {counts['validation_codes_used']:.1%} stand for patches of held-out "
        f"images, as evenly as {counts['validation_code_perplexity']:,.0f} equally frequent ones would."
    )


def interval_cells(share: float, low: float, high: float) -> list[str]:
    """A share and its interval as cells."""
    return [f"{share:.1%}", f"{low:.1%} to {high:.1%}"]
