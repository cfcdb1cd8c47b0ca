"""What the kinds that learn from a policy's own answers have in common: prompts, rewards, rollouts."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.receipt import file_hash, read_receipt
from data_prep.contract.settings import InputError
from data_prep.contract.stages import Input, Stage
from pipeline.checkpoints.run_folder import INDEX
from pipeline.config.rollouts import RolloutConfig
from pipeline.stages.policies import FROM, HELD_OUT, PROMPTS, by_key, comparison_files, policy_job
from pipeline.stages.reward import REWARD
from pipeline.stages.training import Training, config_of, find_start

if TYPE_CHECKING:
    from pipeline.distributed.world import World
    from pipeline.objectives.batches import BatchSource
    from pipeline.objectives.policy import PolicyLoss
    from pipeline.parallel.companion import Companion
    from pipeline.parallel.engine import Engine
    from pipeline.preferences.experience import Experience
    from pipeline.preferences.methods import Method
    from pipeline.preferences.rewards import Rewards
    from pipeline.training.job import Job
    from pipeline.training.task import Notify

MODEL = Input("reward", (REWARD,), required=False)


class Answering(Training):
    """A kind whose policy answers prompts and learns of what the answers are worth."""

    chats = True
    inputs: ClassVar[tuple[Input, ...]] = (FROM, PROMPTS, HELD_OUT, MODEL)
    companions = ("from", "reward")

    def job(self, stage: Stage) -> "Job":
        """Model and tokenizer are those of the run it starts from, and the reward model's."""
        settings, config = settings_of(stage), config_of(stage)
        job = policy_job(self, stage, by_key(*comparison_files(stage)))
        if config.model.dropout or config.model.attention_drop:
            raise InputError(
                f"{stage.name}: model.dropout is not 0; a policy that drops out has other probabilities "
                "where it learns than where it answers; set model.dropout and model.attention_dropout to 0"
            )
        if settings.max_tokens >= config.data.sequence_length:
            raise InputError(
                f"{stage.name}: max_tokens {settings.max_tokens} leaves no room for a prompt in "
                f"data.sequence_length {config.data.sequence_length}"
            )
        source = stage.source(MODEL.key)
        if source is None and not settings.rules:
            raise InputError(f"{stage.name}: answers are worth nothing; name a reward model or rules")
        if source is not None:
            start, run = find_start(source)
            if file_hash(run / TOKENIZER) != file_hash(job.tokenizer_file):
                raise InputError(f"{stage.name}.reward: {run} reads with another tokenizer than the policy")
            job.inputs["reward"] = file_hash(start / INDEX)
        return job

    def check(self, stage: Stage) -> None:
        """Every row of every file has a prompt, and every rule is there."""
        from pipeline.preferences.prompts import messages_of
        from pipeline.preferences.rules import rule_called
        from pipeline.tuning.instructions import read_rows

        for name in settings_of(stage).rules:
            rule_called(name, f"{stage.name}.rules")
        for files in comparison_files(stage):
            for path in files:
                for where, row in read_rows(path, "prompts"):
                    messages_of(row, where)

    def batches(self, stage: Stage, job: "Job", world: "World") -> "BatchSource":
        """None yet: they are made when there is a policy."""
        del stage, job, world
        return Nothing()


class Nothing:
    """No batches."""

    def step(self, step: int) -> Any:
        raise AssertionError("answers are made by the policy")

    def validation(self) -> Any:
        return iter(())

    def documents(self, step: int) -> list[dict[str, Any]]:
        return []

    def report(self, steps: int) -> list[dict[str, Any]]:
        return []

    def close(self) -> None:
        """Nothing runs."""


def settings_of(stage: Stage) -> RolloutConfig:
    """The stage's own keys."""
    assert isinstance(stage.settings, RolloutConfig)
    return stage.settings


def rewards_of(stage: Stage) -> "Rewards":
    """The rewards that a stage names."""
    from pipeline.preferences.rewards import Rewards
    from pipeline.preferences.rules import rule_called

    settings, source = settings_of(stage), stage.source(MODEL.key)
    rules = {
        name: (rule_called(name, f"{stage.name}.rules"), weight) for name, weight in settings.rules.items()
    }
    mean = reward_mean(source.path, source.label) if source else 0.0
    return Rewards(rules, settings.reward_weight, mean, settings.missing_end)


def reward_mean(run: Path, label: str) -> float:
    """What a reward model's scores are counted from. `InputError` where a run is none."""
    receipt = read_receipt(run)
    found = receipt.counts.get(REWARD) if receipt else None
    if not isinstance(found, dict) or not isinstance(found.get("mean"), float):
        raise InputError(f"{label}: not a finished reward model; a run of the kind reward is expected")
    return float(found["mean"])


def open_companions(
    stage: Stage, job: "Job", world: "World", dtype: Any, reference: bool
) -> "dict[str, Companion]":
    """The frozen reference, where it is needed, and the reward model, where there is one."""
    from pipeline.checkpoints.companions import open_companion
    from pipeline.models.scalar import scalar

    found = {}
    parallel = job.config.parallel
    if reference:
        source = stage.source("from")
        assert source is not None
        found["reference"] = open_companion(*find_start(source), world, parallel, dtype)
    if model := stage.source(MODEL.key):
        found["reward"] = open_companion(*find_start(model), world, parallel, dtype, scalar)
    return found


def experience_maker(
    stage: Stage,
    job: "Job",
    dtype: Any,
    companions: "dict[str, Companion]",
    method: "Method",
    loss: "PolicyLoss",
    pretraining: "BatchSource | None" = None,
) -> "Callable[[Engine, Notify], Experience]":
    """What makes the batches once there is an engine."""
    from pipeline.generation.sampler import Sampler
    from pipeline.preferences.experience import Experience, Parts
    from pipeline.preferences.prompts import Prompts
    from pipeline.preferences.rollouts import Scorers

    settings, config = settings_of(stage), job.config
    longest = config.data.sequence_length

    def make(engine: "Engine", notify: "Notify") -> Experience:
        prompts = Prompts(
            job.vocabulary,
            *comparison_files(stage),
            longest - settings.max_tokens,
            settings.validation_samples,
            config.seed,
        )
        lora = settings.lora
        parts = Parts(
            Sampler(engine, config, job.vocabulary, dtype),
            Scorers(engine, companions, settings.temperature, settings.micro_batch),
            prompts,
            rewards_of(stage),
            method,
            loss,
            pretraining,
            dropout=bool(lora and lora.dropout),
        )
        return Experience(engine, parts, settings, job.vocabulary, longest, config.seed, job.folder, notify)

    return make
