"""The kind of stage that learns from a policy's own answers with a value model beside it.

aligned: {kind: ppo, from: chat, data: [prompts.jsonl], reward: preferred, steps: 200, kl_coefficient: 0.05}

Policy and value model are one list of layers, so one optimizer, one checkpoint and every layout have both.
The value model starts as the reward model, or where rewards are by rule alone as the policy with a drawn
head.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.contract.settings import InputError
from data_prep.contract.stages import DATASET, Input, Stage
from pipeline.config.rollouts import PPOConfig
from pipeline.stages.answering import MODEL, Answering, experience_maker, open_companions
from pipeline.stages.training import check_tokenizer, config_of, find_start

if TYPE_CHECKING:
    import torch

    from pipeline.distributed.world import World
    from pipeline.objectives.batches import BatchSource
    from pipeline.parallel.engine import Engine
    from pipeline.training.job import Job
    from pipeline.training.task import MakeTask, Task

VALUE = "value."
"""Prefix of the value model's weights."""


class Ppo(Answering):
    """`ppo`: advantages by a value model, the divergence from the reference in the rewards."""

    name, title = "ppo", "Proximal policy optimisation"
    inputs = (*Answering.inputs, Input("pretraining", (DATASET,), required=False))
    settings = PPOConfig

    def job(self, stage: Stage) -> "Job":
        """The dataset whose samples are mixed in has the policy's tokens."""
        job, settings = super().job(stage), stage.settings
        assert isinstance(settings, PPOConfig)
        source = stage.source("pretraining")
        if bool(settings.ptx) != (source is not None):
            raise InputError(f"{stage.name}: ptx and pretraining go together: a weight, and a dataset")
        if source is not None:
            from data_prep.contract.dataset import Dataset

            dataset = Dataset(source.path)
            check_tokenizer(dataset, job.tokenizer_file.parent)
            if config_of(stage).data.attention != "across_documents":
                raise InputError(f"{stage.name}: ptx goes with data.attention across_documents alone")
            job.inputs["pretraining"] = dataset.manifest.fingerprint
        return job

    def task(self, stage: Stage, job: "Job") -> "MakeTask":
        """Clipped ratios of the answers, clipped values, and pretraining where it is mixed in."""
        settings = stage.settings
        assert isinstance(settings, PPOConfig)
        source = stage.source(MODEL.key) or stage.source("from")
        assert source is not None
        start, run = find_start(source)

        def make(job: "Job", world: "World", dtype: "torch.dtype") -> "Task":
            from pipeline.checkpoints.run_folder import read_config
            from pipeline.models.beside import beside
            from pipeline.models.scalar import scalar
            from pipeline.objectives.model import model_layers
            from pipeline.objectives.ppo import PPO
            from pipeline.preferences.methods import ActorCritic
            from pipeline.training.task import Task

            theirs = read_config(run).model_copy(update={"parallel": job.config.parallel})
            value = beside(model_layers(theirs, job.vocabulary.size, dtype, scalar), VALUE)
            policy = model_layers(job.config, job.vocabulary.size, dtype)
            companions = open_companions(stage, job, world, dtype, reference=True)
            loss = PPO(
                settings.ratio_clip,
                settings.value_clip,
                settings.value_weight,
                settings.ptx,
                settings.temperature,
            )
            method = ActorCritic(
                settings.gamma,
                settings.decay,
                settings.whiten_rewards,
                settings.target_kl,
                settings.kl_horizon,
            )
            mixed_in = pretraining(stage, job, world) if settings.ptx else None
            maker = experience_maker(stage, job, dtype, companions, method, loss, mixed_in)

            def begin(engine: "Engine") -> str:
                return start_value(engine, start)

            return Task(
                [*value, *policy],
                loss,
                new=(VALUE,),
                companions=companions,
                experience=maker,
                begin=begin,
            )

        return make


def pretraining(stage: Stage, job: "Job", world: "World") -> "BatchSource":
    """The samples that are mixed in."""
    from pipeline.data.pretraining import PretrainingBatches

    source = stage.source("pretraining")
    assert source is not None
    return PretrainingBatches(job.config, source.path, world.data_rank, world.data_size)


def start_value(engine: "Engine", start: Path) -> str:
    """Set the value model's weights from a checkpoint; what it lacks stays as drawn. Tells in a line."""
    from pipeline.checkpoints.format import Checkpoint
    from pipeline.checkpoints.saving import check_files, load_part

    checkpoint = Checkpoint(start)
    check_files(checkpoint, engine.world)
    drawn = load_part(engine, checkpoint, VALUE)
    return f"the value model starts with the weights of {start}" + (f"; new: {drawn}" if drawn else "")
