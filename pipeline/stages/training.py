"""What all stages that train have in common: their job, and their part of the report.

A stage may start from the weights of a run: another stage's, one trained elsewhere, or an imported model.
What its sections leave out is then that run's; what they say otherwise is refused by name.
"""

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from data_prep.contract.dataset import MANIFEST, TOKENIZER, Dataset
from data_prep.contract.receipt import Receipt, file_hash, kind_of, read_receipt
from data_prep.contract.report import Curves, Headline, Section, StageReport, Text, short
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.stages import DATASET, RUN, Input, Kind, Notify, Source, Stage
from pipeline.checkpoints.run_folder import INDEX, checkpoint_folder, read_config, saved_steps
from pipeline.config import ObjectiveConfig, OptimizerConfig, PipelineConfig
from pipeline.conversion.family import Facts, differences
from pipeline.costs.flops import VOCABULARY_MULTIPLE, padded_vocabulary
from pipeline.objectives.objective import Objective
from pipeline.objectives.registry import objective_of
from pipeline.stages.asked import check_suites
from pipeline.stages.experts_load import load_of_experts
from pipeline.tracking import metrics

if TYPE_CHECKING:
    from pipeline.distributed.world import World
    from pipeline.objectives.batches import BatchSource
    from pipeline.training.job import Job
    from pipeline.training.task import MakeTask

DATA = Input("data", (DATASET,))
START = Input("from", (RUN,), required=False)


class Training(Kind):
    """A kind of stage that trains. `job` says what, `batches` on what."""

    gives = RUN
    inputs: ClassVar[tuple[Input, ...]] = (DATA, START)
    sections: ClassVar[tuple[str, ...]] = ("model", "objective", "data", "parallel", "tracking")
    inherits = "from"
    settings: ClassVar[type[Settings]] = OptimizerConfig
    trains = True
    companions: ClassVar[tuple[str, ...]] = ()
    """The inputs that are frozen models beside the one that learns."""
    mark: ClassVar[str] = ""
    """What stands for the kind in fingerprints, where that is not its name."""
    title: ClassVar[str] = ""
    """Heading of its curves in the report; the stage's name where there is none."""
    chats: ClassVar[bool] = False
    """Whether what it trains is asked through its chat template."""
    speaks: ClassVar[bool] = True
    """Whether what it trains goes on with texts, so that suites can be put to it as it learns."""

    def fingerprint(self, stage: Stage) -> str:
        """The job's."""
        return self.job(stage).fingerprint

    @abstractmethod
    def job(self, stage: Stage) -> "Job":
        """What is to be trained. `InputError` where an input is not there or does not go with it."""

    @abstractmethod
    def batches(self, stage: Stage, job: "Job", world: "World") -> "BatchSource":
        """This rank's data."""

    def jobs(self, stage: Stage) -> "list[Job]":
        """The trainings of the stage, one after the other; the last one's receipt is the stage's."""
        return [self.job(stage)]

    def conclude(self, stage: Stage, notify: Notify) -> None:
        """What is left to do when the stage has been trained, and was not done before."""

    def task(self, stage: Stage, job: "Job") -> "MakeTask":
        """What is learned on them: the recipe's own objective, unless a kind says otherwise."""
        from pipeline.training.task import own_objective

        return own_objective

    def make_job(
        self, stage: Stage, dataset: Dataset | None, inputs: dict[str, str], start_from: Path | None
    ) -> "Job":
        """A job of this kind."""
        from pipeline.training.job import Job

        config = config_of(stage)
        mark = self.mark or self.name
        job = Job(stage.name, stage.work, config, dataset, inputs, start_from, kind=self.name, mark=mark)
        check_suites(job, self.speaks)
        return job

    def run(self, stage: Stage, notify: Notify) -> Receipt:
        """Trainings are run by a launcher's processes."""
        raise AssertionError(f"{stage.name} is run by a launcher")

    def config(self, stage: Stage) -> dict[str, Any]:
        """As a run's config.yaml has it."""
        return config_of(stage).model_dump(mode="json")

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Curves, and what was learned."""
        title = self.title or folder.name.capitalize()
        words = [Text(line) for line in [objective_line(receipt)] if line]
        return StageReport(
            list(training_headlines(folder, receipt)),
            [Section(title, [*words, Curves(), *load_of_experts(folder)])],
            commands=commands(receipt, self.chats),
        )


def config_of(stage: Stage) -> PipelineConfig:
    """The stage's sections as the pipeline takes them. `InputError` where they do not go together."""
    train = {"train": stage.settings} if isinstance(stage.settings, OptimizerConfig) else {}
    return PipelineConfig(name=stage.recipe, seed=stage.seed, **dict(stage.sections), **train)


def find_dataset(stage: Stage) -> Dataset:
    """The dataset that a stage reads. `InputError` where it is not there."""
    source = stage.source(DATA.key)
    assert source is not None
    if not (source.path / MANIFEST).is_file() and source.stage:
        raise InputError(
            f"{source.place}: not a dataset yet; run the stage {source.stage} (`bloomery prep`) first"
        )
    return Dataset(source.path)


def find_start(source: Source) -> tuple[Path, Path]:
    """The checkpoint that a run's weights are taken from, and the run's folder.

    Raises `InputError` where there is none, and where the stage that makes it has not ended.
    """
    path = source.path
    receipt = read_receipt(path)
    if receipt is not None and (path / "checkpoints").is_dir():
        return checkpoint_folder(path, int(receipt.counts["steps"])), path
    if source.stage:
        raise InputError(f"{path}: the stage {source.stage} has not ended; run it (`bloomery train`) first")
    if (path / "checkpoints").is_dir() and (steps := saved_steps(path)):
        return checkpoint_folder(path, steps[-1]), path
    if (path / INDEX).is_file():
        return path, path.resolve().parent.parent
    raise InputError(
        f"{source.label}: no complete checkpoint there; a run or one of its checkpoints/step-N is expected"
    )


def inherited(run: Path) -> dict[str, dict[str, Any]]:
    """The sections that a stage takes from the run it starts from, where it leaves their keys out."""
    config = read_config(run)
    model = config.model.model_dump(mode="json", exclude={"preset"})
    if config.model.positions == "learned":
        model["max_positions"] = config.position_table
    model["context_length"] = config.context_length
    found = {"model": model, "objective": config.objective.model_dump(mode="json")}
    if config.vision is not None:
        found["vision"] = config.vision.model_dump(mode="json", exclude={"preset"})
    return found


def check_model(config: PipelineConfig, run: Path, label: str) -> None:
    """`InputError` where the recipe's model is not the one whose weights it would start from."""
    theirs = read_config(run)
    found = differences(config.model, theirs.model, Facts(0))
    if config.model.positions == "learned" and config.position_table != theirs.position_table:
        found["max_positions"] = (config.position_table, theirs.position_table)
    if found:
        name, (ours, wanted) = next(iter(found.items()))
        raise InputError(
            f"model.{name} is {ours} and {wanted} in {label}; leave the key out to have the checkpoint's"
        )


def check_layout(job: "Job") -> None:
    """`InputError` where tensor parallelism cannot cut the token embedding evenly."""
    if not job.config.reads_text:
        return
    check_rows(job.config.parallel.tensor, job.vocabulary.size)


def check_rows(tensor: int, pieces: int) -> None:
    """The same for a tensor parallel size and a vocabulary of so many pieces."""
    rows = padded_vocabulary(pieces)
    if rows % tensor:
        raise InputError(
            f"parallel.tensor {tensor} does not divide the {rows} rows of the token embedding (a vocabulary "
            f"of {pieces}, filled up to a multiple of {VOCABULARY_MULTIPLE}); powers of two do"
        )


def check_tokenizer(dataset: Dataset, run: Path) -> None:
    """`InputError` where a dataset has other tokens than a run was trained with."""
    if file_hash(run / TOKENIZER) != dataset.manifest.tokenizer_sha256:
        raise InputError(
            f"{dataset.folder}: made with another tokenizer than {run}; prepare it with tokenizer.model={run}"
        )


def check_target(stage: Stage) -> None:
    """`InputError` where the stage would write over an imported model."""
    receipt = read_receipt(stage.folder)
    if receipt is not None and kind_of(receipt) == "import":
        raise InputError(
            f"{stage.folder}: an imported model is where pretraining would write; move it elsewhere and name "
            "it as train.start_from"
        )


def objective_line(receipt: Receipt) -> str:
    """What a model learned to predict; empty where the receipt does not say."""
    if "objective" not in receipt.config or "model" not in receipt.config:
        return ""
    words = objective_in(receipt).describe()
    if receipt.config.get("vision"):
        return f"Learned: {objective_in(receipt).describe()}."
    architecture = receipt.config["model"].get("architecture", "decoder").replace("_", "-").capitalize()
    return f"{architecture}, trained by {words}."


def commands(receipt: Receipt, chats: bool) -> list[str]:
    """How to use a model, by what it learned to predict."""
    further = ["bloomery inspect RUN", "bloomery export RUN my-model"]
    if chats:
        asked = "--chat --prompt 'What is a list?'"
    elif "objective" not in receipt.config:
        return further
    else:
        asked = "--fill 'Return the <mask>.'" if objective_in(receipt).fills else "--prompt 'Return the'"
    return [f"bloomery generate RUN {asked}", *further]


def objective_in(receipt: Receipt) -> Objective:
    """The objective that a receipt tells of."""
    return objective_of(ObjectiveConfig.model_validate(receipt.config["objective"]))


def training_headlines(folder: Path, receipt: Receipt) -> Iterable[Headline]:
    """Size, speed and validation loss."""
    lines = metrics.read(folder / metrics.METRICS)
    if "parameters" in receipt.counts:
        yield Headline("parameters", short(receipt.counts["parameters"]), folder.name)
    active = receipt.counts.get("active_parameters")
    if active is not None and active < receipt.counts["parameters"]:
        yield Headline("active parameters", short(active), f"{folder.name}, of each token")
    _, speeds = metrics.series(lines, "tokens_per_second")
    if speeds:
        unit = "images" if receipt.config.get("vision") else "tokens"
        yield Headline(
            f"{unit} per second", short(sorted(speeds)[len(speeds) // 2]), f"{folder.name}, median step"
        )
    _, losses = metrics.series(lines, "validation_loss")
    if losses:
        yield Headline("validation loss", f"{losses[-1]:.3f}", f"{folder.name}, {lines[-1]['step']:,} steps")
