"""The kind of stage that trains an agent: episodes, texts and pictures as one kind of sequence (Gato).

    texts: {kind: captions, data: pictures}          # or any dataset of texts, whose tokenizer it has
    agent: {kind: pretrain_agent, episodes: episodes, data: texts, pictures: pictures, steps: 1000}

A decoder learns the next token where it is a text's or a part of an action. What the three share the
sequences by are `episodes_weight`, `texts_weight` and `pictures_weight`.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import ValidationError

from data_prep.contract.pictures import CAPTION, ImageDataset
from data_prep.contract.problems import first_problem
from data_prep.contract.receipt import Receipt
from data_prep.contract.report import Curves, Section, StageReport, Text
from data_prep.contract.settings import InputError
from data_prep.contract.stages import DATASET, PICTURES, Input, Stage
from pipeline.checkpoints.run_folder import AGENT
from pipeline.config import PipelineConfig
from pipeline.config.agent import AgentConfig, Interface
from pipeline.costs import flops
from pipeline.costs.agent import own_parameters
from pipeline.data.agent.episodes import EPISODES, EpisodesFolder
from pipeline.stages.training import Training, check_rows, config_of, find_dataset, training_headlines

if TYPE_CHECKING:
    import torch

    from pipeline.distributed.world import World
    from pipeline.objectives.batches import BatchSource
    from pipeline.training.job import Job
    from pipeline.training.task import MakeTask, Task

ACTS = "agent"
"""What the kind gives."""
PLAYED, TEXTS = Input("episodes", (EPISODES,)), Input("data", (DATASET,))
SHOWN = Input("pictures", (PICTURES,), required=False)


class PretrainAgent(Training):
    """`pretrain_agent`: learns what comes next in texts, captions and actions of experts."""

    name, section, gives = "pretrain_agent", "train", ACTS
    inputs: ClassVar[tuple[Input, ...]] = (TEXTS, PLAYED, SHOWN)
    sections = ("model", "data", "parallel", "tracking")
    inherits = ""
    settings = AgentConfig
    speaks = False

    def job(self, stage: Stage) -> "Job":
        """Training on episodes, a dataset of texts and perhaps one of pictures."""
        config, dataset, episodes = config_of(stage), find_dataset(stage), folder_of(stage)
        inputs = {"dataset": dataset.manifest.fingerprint, "episodes": episodes.fingerprint}
        if (shown := pictures_of(stage)) is not None:
            inputs["pictures"] = shown.manifest.fingerprint
        interface = interface_of(config, episodes, dataset.vocabulary.size, shown)
        job = self.make_job(stage, dataset, inputs, None)
        return replace(
            job,
            config=config,
            notes={AGENT: interface.model_dump_json(indent=2) + "\n"},
            counted=parameters(config, interface),
        )

    def batches(self, stage: Stage, job: "Job", world: "World") -> "BatchSource":
        """Rows of all of them."""
        from pipeline.data.agent.batches import AgentBatches

        assert job.dataset
        shown = pictures_of(stage)
        folders = (folder_of(stage).folder, job.dataset.folder, shown.folder if shown else None)
        return AgentBatches(job.config, interface_in(job), folders, world.data_rank, world.data_size)

    def task(self, stage: Stage, job: "Job") -> "MakeTask":
        """The agent's layers; the loss is that of the next token."""

        def make(job: "Job", world: "World", dtype: "torch.dtype") -> "Task":
            from pipeline.models.agent import agent_layers
            from pipeline.objectives.registry import objective_of
            from pipeline.training.task import Task

            del world
            objective = objective_of(job.config.objective)
            return Task(agent_layers(job.config, interface_in(job), dtype, objective.head), objective)

        return make

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """What was learned, and curves; validation is on actions alone."""
        words = Text(
            "One decoder of texts, captions of pictures and actions; what is seen is not learned. The "
            "validation loss is that of the actions in episodes held out."
        )
        return StageReport(
            list(training_headlines(folder, receipt)),
            [Section(folder.name.capitalize(), [words, Curves()])],
            places={folder.name: str(folder)},
        )


def folder_of(stage: Stage) -> EpisodesFolder:
    """The episodes that a stage reads. `InputError` where there are none."""
    source = stage.source(PLAYED.key)
    assert source is not None
    return EpisodesFolder(source.path)


def pictures_of(stage: Stage) -> ImageDataset | None:
    """The pictures that it reads, if any. `InputError` where these have no captions."""
    source = stage.source(SHOWN.key)
    if source is None:
        return None
    dataset = ImageDataset(source.path)
    if not dataset.has(CAPTION):
        raise InputError(f"{dataset.folder}: its pictures have no captions, which an agent learns to say")
    return dataset


def interface_of(
    config: PipelineConfig, episodes: EpisodesFolder, pieces: int, shown: ImageDataset | None
) -> Interface:
    """The ids. `InputError` where a step does not fit, or the layout does not cut their table."""
    own, length = config.train, config.data.sequence_length
    assert isinstance(own, AgentConfig)
    size = (config.data.view.size or shown.manifest.pixels.get("size")) if shown else None
    if shown and not size:
        raise InputError(f"data.view.size: {shown.folder} has pictures of several sizes; name a side for all")
    try:
        interface = Interface(
            tasks=episodes.tasks,
            pieces=pieces,
            image_size=size,
            patch_size=own.patch_size,
            patch_channels=own.patch_channels,
        )
    except ValidationError as error:
        raise InputError(str(first_problem(error))) from None
    for task in interface.tasks:
        if 4 * task.width > length:
            raise InputError(
                f"data.sequence_length {length}: a step of {task.name} takes {task.width} tokens, and four "
                "steps are the least that is of use"
            )
    if interface.patches >= length:
        raise InputError(
            f"data.sequence_length {length} has no room for words behind the {interface.patches} patches"
        )
    check_rows(config.parallel.tensor, interface.size)
    return interface


def parameters(config: PipelineConfig, interface: Interface) -> int:
    """Those of a decoder of all ids, of the patches' block and of the table of places."""
    model, rows = config.model, flops.padded_vocabulary(interface.size)
    return flops.parameters(model, rows, config.position_table, config.objective) + own_parameters(
        interface, model
    )


def interface_in(job: "Job") -> Interface:
    """The ids of a job."""
    return Interface.model_validate_json(job.notes[AGENT])
