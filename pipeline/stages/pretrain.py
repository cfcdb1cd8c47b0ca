"""The kind of stage that pretrains: a dataset to a model, from drawn weights or from those of another run."""

from typing import TYPE_CHECKING

from data_prep.contract.receipt import file_hash
from data_prep.contract.settings import InputError
from data_prep.contract.stages import Stage
from pipeline.checkpoints.run_folder import INDEX
from pipeline.config import TrainConfig
from pipeline.data.remote import open_dataset
from pipeline.stages.training import (
    START,
    Training,
    check_model,
    check_target,
    check_tokenizer,
    config_of,
    find_dataset,
    find_start,
)

if TYPE_CHECKING:
    from pipeline.distributed.world import World
    from pipeline.objectives.batches import BatchSource
    from pipeline.training.job import Job


class Pretrain(Training):
    """`pretrain`: learns the recipe's objective on a dataset and its mixture."""

    name, section, title = "pretrain", "train", "Pretraining"
    settings = TrainConfig

    def job(self, stage: Stage) -> "Job":
        """Pretraining on the dataset; a run to start from has its model and its tokenizer."""
        check_target(stage)
        config, dataset = config_of(stage), find_dataset(stage)
        if not config.model.language_head:
            raise InputError(
                f"{stage.name}: model.language_head is false, and it is by that head that "
                f"{config.objective.kind} is learned; leave it at true, or fine-tune the model for a task"
            )
        inputs = {"dataset": dataset.manifest.fingerprint}
        for entry in config.data.mixture:
            inputs[entry.dataset] = open_dataset(entry.dataset, config.data).manifest.fingerprint
        source = stage.source(START.key)
        if source is None:
            return self.make_job(stage, dataset, inputs, None)
        start, run = find_start(source)
        check_model(config, run, source.label)
        check_tokenizer(dataset, run)
        inputs["start_from"] = file_hash(start / INDEX)
        return self.make_job(stage, dataset, inputs, start)

    def batches(self, stage: Stage, job: "Job", world: "World") -> "BatchSource":
        """Samples of the dataset, made in the background."""
        from pipeline.data.pretraining import PretrainingBatches

        assert job.dataset
        pinned = world.device.type == "cuda"
        return PretrainingBatches(job.config, job.dataset.folder, world.data_rank, world.data_size, pinned)
