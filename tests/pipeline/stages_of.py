"""Stages and jobs as a recipe makes them, from a configuration alone."""

from pathlib import Path

from data_prep.contract.stages import Source, Stage
from pipeline.config import PipelineConfig, TuneConfig
from pipeline.health.stopping import StopRequest
from pipeline.stages.instruct import Instruct
from pipeline.stages.pretrain import Pretrain
from pipeline.stages.training import Training
from pipeline.training.job import Job
from pipeline.training.run import run

SECTIONS = Training.sections


def stage(kind: Training, name: str, config: PipelineConfig, work: Path, **inputs: Source) -> Stage:
    """A stage that reads the work folder's dataset, and what else is given by key."""
    return Stage(
        name=name,
        kind=kind.name,
        recipe=config.name,
        seed=config.seed,
        work=work,
        sections={section: getattr(config, section) for section in SECTIONS},
        settings=config.train,
        inputs={"data": (Source("dataset", str(work / "dataset"), "dataset"),)}
        | {key.rstrip("_"): (source,) for key, source in inputs.items()},
    )


def pretraining(config: PipelineConfig, work: Path) -> Job:
    """The job of pretraining on the work folder's dataset."""
    return Pretrain().job(stage(Pretrain(), "pretrain", config, work))


def tuning(config: PipelineConfig, work: Path) -> Job:
    """The job of tuning the work folder's pretrained model on the dataset's instructions."""
    config = config.model_copy(update={"train": TuneConfig()})
    start = Source("pretrain", str(work / "pretrain"), "pretrain")
    return Instruct().job(stage(Instruct(), "tune", config, work, from_=start))


def run_pretraining(
    config: PipelineConfig, work: Path, resume: bool = False, stop: StopRequest | None = None
) -> bool:
    """Pretrain in this process, one of a world's."""
    kind = Pretrain()
    place = stage(kind, "pretrain", config, work)
    job = kind.job(place)
    return run(job, lambda world: kind.batches(place, job, world), resume, stop)
