"""The kind of stage that fine-tunes a run for a task: files with what is wanted to a model that predicts it.

sentiment:
  {kind: finetune, from: base, data: [reviews.tsv], task: {kind: classification, text: sentence}, epochs: 3}

The task is one of `pipeline.tasks`; the rows' labels, a split where there is none and the steps of an epoch
are found in the files. With several `seeds` the stage trains as often, and reports mean and spread.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.reading import read_json
from data_prep.contract.receipt import Receipt, file_hash, fingerprint
from data_prep.contract.report import Curves, Section, StageReport
from data_prep.contract.settings import InputError
from data_prep.contract.stages import FILES, RUN, Input, Notify, Stage
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.run_folder import INDEX, read_config
from pipeline.config import OptimizerConfig, PipelineConfig
from pipeline.costs import flops
from pipeline.costs.flops import padded_vocabulary
from pipeline.finetuning import report as shown
from pipeline.finetuning.prepared import Prepared, prepare
from pipeline.finetuning.provenance import ROWS, noted
from pipeline.finetuning.results import RESULTS, is_there
from pipeline.stages.training import Training, check_model, config_of, find_start, training_headlines
from pipeline.tasks.registry import AnyTask
from pipeline.tasks.saved import TASK, written
from pipeline.tasks.words import need

if TYPE_CHECKING:
    import torch

    from pipeline.distributed.world import World
    from pipeline.objectives.batches import BatchSource
    from pipeline.training.job import Job
    from pipeline.training.task import MakeTask, Task

FILE_KEYS = ("data", "validation", "test")
MADE = {"data": "train.jsonl", "validation": "validation.jsonl", "test": "test.jsonl"}
"""What a stage that makes rows leaves in its folder, by the key that it is for."""
SEEDS = "seeds"
SPLIT_SEED = 0
"""What is held out is the same for every seed."""


class FinetuneConfig(OptimizerConfig):
    """Fine-tuning; what is not said is as BERT was fine-tuned (Devlin et al. 2019, appendix A.3)."""

    task: AnyTask
    """What is learned, by its `kind` and the columns that it reads."""
    epochs: PositiveFloat | None = 3.0
    """How often each row is trained on, which gives the steps; null takes `steps`."""
    seeds: int = Field(1, ge=1, le=100)
    """Trainings, with seeds that count up from the stage's; the last one is the stage's own run."""
    from_scratch: bool = False
    """Whether the run's weights are drawn anew: what there is without pretraining."""
    validation_share: float = Field(0.1, gt=0.0, lt=1.0)
    """Share of the rows that validates where no file does."""
    warmup_share: float = Field(0.1, ge=0.0, le=1.0)
    """Share of the steps that warm up, where `warmup_steps` is not said."""
    patience: int = Field(0, ge=0)
    """Validations without a better main measure after which the training ends with its best weights; 0 goes
    on to the last step and takes that."""

    global_batch: int = Field(32, gt=0, le=10**8)
    """Rows in one optimizer step."""
    micro_batch: int = Field(16, gt=0, le=10**8)
    """Rows that one rank computes at once."""
    learning_rate: float = Field(5e-5, gt=0.0, le=1e3)
    """Peak learning rate; small models want 1e-4 to 5e-4."""
    schedule: Literal["cosine", "linear", "constant", "inverse_sqrt", "wsd"] = "linear"
    """How the rate goes on after its warm-up."""
    minimum_learning_rate: float = Field(0.0, ge=0.0)
    """Learning rate at the last step."""
    weight_decay: float = Field(0.01, ge=0.0)
    """Decoupled weight decay of matrices."""
    beta2: float = Field(0.999, ge=0.0, lt=1.0)
    """Adam's decay of the squared gradient average."""
    epsilon: PositiveFloat = 1e-6
    """Adam's epsilon."""


class Finetune(Training):
    """`finetune`: learns a task from rows that say what is wanted."""

    name, title = "finetune", "Fine-tuning"
    inputs = (
        Input("from", (RUN,)),
        Input("data", (FILES,), many=True),
        Input("validation", (FILES,), required=False, many=True),
        Input("test", (FILES,), required=False, many=True),
    )
    settings, speaks = FinetuneConfig, False
    artifacts: ClassVar[tuple[str, ...]] = (RESULTS,)

    def job(self, stage: Stage) -> "Job":
        """The training of the stage's own seed, the last of its seeds."""
        return self.jobs(stage)[-1]

    def jobs(self, stage: Stage) -> "list[Job]":
        """A training a seed; those before the last have folders of their own in the stage's."""
        settings = settings_of(stage)
        need("sklearn", "scipy", "seqeval", "sacrebleu", "rouge_score")
        config, start, run = start_of(stage)
        prepared = prepared_of(stage)
        if settings.patience and prepared.task.generates:
            raise InputError(
                f"stages.{stage.name}.patience goes by a measure at every validation, and the answers of "
                f"{prepared.task.name} are generated once, at the end; leave it out"
            )
        config = config.model_copy(update={"train": with_steps(settings, len(prepared.train.features))})
        inputs = {"pretrained": file_hash(start / INDEX)} | hashes(stage)
        last = replace(
            self.make_job(stage, None, inputs, None if settings.from_scratch else start),
            config=config,
            tokenizer=run / TOKENIZER,
            notes={
                TASK: written(settings.task, prepared.task.learned),
                ROWS: noted(files_of(stage), settings.validation_share, SPLIT_SEED),
            },
            counted=parameters(config, prepared),
        )
        quiet = config.tracking.model_copy(update={"enabled": False})
        others = [
            replace(
                last,
                work=last.folder / SEEDS,
                stage=str(seed),
                config=config.model_copy(update={"seed": seed, "tracking": quiet}),
            )
            for seed in range(config.seed + 1, config.seed + settings.seeds)
        ]
        return [*others, last]

    def check(self, stage: Stage) -> None:
        """Every row of every file has been read when the job is known."""
        prepared_of(stage)

    def batches(self, stage: Stage, job: "Job", world: "World") -> "BatchSource":
        """Rows of similar length, padded."""
        from pipeline.finetuning.batches import TaskBatches

        return TaskBatches(prepared_of(stage), job.config, world.data_rank, world.data_size)

    def task(self, stage: Stage, job: "Job") -> "MakeTask":
        """The task's head and loss behind the run's blocks; its measures at every validation."""
        settings, prepared = settings_of(stage), prepared_of(stage)

        def make(job: "Job", world: "World", dtype: "torch.dtype") -> "Task":
            from pipeline.finetuning.inference import measure
            from pipeline.objectives.model import model_layers
            from pipeline.tasks.heads import NEW, TAKEN
            from pipeline.training.task import Task

            del world
            task = prepared.task
            head = None if task.generates else task.head
            return Task(
                model_layers(job.config, job.vocabulary.size, dtype, head),
                task,
                new=NEW,
                taken=TAKEN,
                measure=None if task.generates else measure,  # type: ignore[arg-type]
                best_by=task.main,
                patience=settings.patience,
            )

        return make

    def is_done(self, stage: Stage) -> bool:
        """Trained, and measured."""
        return super().is_done(stage) and is_there(stage.folder, self.fingerprint(stage))

    def conclude(self, stage: Stage, notify: Notify) -> None:
        """Measure what was trained, where that is not done yet."""
        jobs = self.jobs(stage)
        if is_there(stage.folder, jobs[-1].fingerprint):
            return
        from pipeline.finetuning.results import conclude

        runs = {job.config.seed: job.folder for job in jobs}
        conclude(stage.folder, runs, prepared_of(stage), jobs[-1].fingerprint, stage.seed, notify)

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Curves, figures beside baselines, errors."""
        path = folder / RESULTS
        found = read_json(path) if path.is_file() else None
        curves = Section(folder.name.capitalize(), [Curves()])
        commands = ["bloomery predict RUN --input FILE", "bloomery export RUN my-model"]
        if not isinstance(found, dict):
            return StageReport(list(training_headlines(folder, receipt)), [curves], commands=commands)
        split, about = shown.last(found)
        figures = {f"{split}_{name}": one["value"] for name, one in shown.own_figures(about).items()}
        return StageReport(
            [*shown.headlines(folder.name, found), *training_headlines(folder, receipt)],
            [curves, *shown.sections(folder.name, found)],
            figures={folder.name: figures},
            places={folder.name: str(folder)},
            commands=commands,
        )


def settings_of(stage: Stage) -> FinetuneConfig:
    """The stage's own keys."""
    assert isinstance(stage.settings, FinetuneConfig)
    return stage.settings


def start_of(stage: Stage) -> tuple[PipelineConfig, Path, Path]:
    """The configuration, and the checkpoint and run that the stage starts from."""
    source = stage.source("from")
    assert source is not None
    start, run = find_start(source)
    config, theirs = config_of(stage), read_config(run)
    if config.model.positions == "learned" and config.model.max_positions is None:
        model = config.model.model_copy(update={"max_positions": theirs.position_table})
        config = PipelineConfig.model_validate(dict(config) | {"model": model})
    check_model(config, run, source.label)
    most = theirs.position_table if theirs.model.positions == "learned" else None
    if most and config.data.sequence_length > most:
        raise InputError(
            f"{stage.name}: data.sequence_length {config.data.sequence_length} is longer than the {most} "
            f"positions that the model has; {most} or less fits"
        )
    return config, start, run


def with_steps(settings: FinetuneConfig, features: int) -> FinetuneConfig:
    """The settings with the steps that so many training samples come to."""
    if settings.epochs is None:
        return settings
    epoch = features / settings.global_batch
    steps = max(1, round(settings.epochs * epoch))
    said, every = settings.model_fields_set, max(1, min(steps, math.ceil(epoch)))
    found = {"steps": steps}
    if "warmup_steps" not in said:
        found["warmup_steps"] = round(settings.warmup_share * steps)
    if "validate_every" not in said:
        found["validate_every"] = every
    if "checkpoint_every" not in said:
        found["checkpoint_every"] = max(every, 50)
    return settings.model_copy(update=found)


def files_of(stage: Stage) -> dict[str, list[tuple[str, Path]]]:
    """The files of each key, with their names in the recipe.

    A stage that makes rows has all three in its folder.
    """
    found: dict[str, list[tuple[str, Path]]] = {key: [] for key in FILE_KEYS}
    for key in FILE_KEYS:
        for one in stage.inputs.get(key, ()):
            if not one.path.is_dir():
                found[key].append((one.label, one.path))
                continue
            for split, name in MADE.items():
                path = one.path / name
                if (split == key or (key == "data" and split not in stage.inputs)) and path.is_file():
                    found[split].append((one.label, path))
    return found


def hashes(stage: Stage) -> dict[str, str]:
    """The hash of each file, by what stands for it in the recipe."""
    found = {}
    for key, files in files_of(stage).items():
        for index, (_, path) in enumerate(files):
            if not path.is_file():
                raise InputError(f"{path}: no such file; rows for stages.{stage.name}.{key} are expected")
            found[f"{key}[{index}]"] = file_hash(path)
    if not any(key.startswith("data") for key in found):
        raise InputError(
            f"stages.{stage.name}.data: no rows there; files, or a stage that makes some, has them"
        )
    return found


def prepared_of(stage: Stage) -> Prepared:
    """The stage's rows and features, read once in a process."""
    settings, (config, _, run) = settings_of(stage), start_of(stage)
    files = [files_of(stage)[key] for key in FILE_KEYS]
    key = fingerprint(hashes(stage), settings.task, settings.validation_share, config.model, config.data, run)
    if key not in _PREPARED:
        _PREPARED.clear()
        read, kept, tested = files
        vocabulary, share = Vocabulary(run / TOKENIZER), settings.validation_share
        _PREPARED[key] = prepare(settings.task, (read, kept, tested), share, SPLIT_SEED, config, vocabulary)
    return _PREPARED[key]


_PREPARED: dict[str, Prepared] = {}
"""The last one, by what it is made of."""


def parameters(config: PipelineConfig, prepared: Prepared) -> int | None:
    """Number of the model's parameters with the task's head."""
    task, model = prepared.task, config.model
    if task.generates:
        return None
    rows = padded_vocabulary(task.vocabulary.size)
    bare = model.model_copy(update={"language_head": False, "pooler": False})
    return flops.parameters(bare, rows, config.position_table) + task.head_parameters(model)
