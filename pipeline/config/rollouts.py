"""What trainings on a policy's own answers are told: sampling, rewards, and how they learn of them."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pipeline.config.optimizer import OptimizerConfig

FEWEST = 8
"""Answers of a rollout: fewer have no meaningful deviation."""


class RolloutConfig(OptimizerConfig):
    """The keys that GRPO and PPO share."""

    not_in_fingerprint = OptimizerConfig.not_in_fingerprint | {"answers_at_once", "samples"}

    rollout_batch: PositiveInt = 64
    """Answers in a rollout; it is learned in epochs x rollout_batch / global_batch steps."""
    epochs: PositiveInt = 1
    """How often each rollout is learned."""
    max_tokens: PositiveInt = 64
    """Most tokens of an answer."""
    temperature: PositiveFloat = 1.0
    """What logits are divided by, where answers are drawn and where they are scored."""
    rules: dict[str, float] = Field(default_factory=dict)
    """Weights of rewards by rule, such as {exact_answer: 1.0}."""
    reward_weight: float = 1.0
    """Weight of the reward model's score, where there is a reward model."""
    missing_end: float | None = None
    """Score of an answer that does not come to its end within max_tokens; null judges it as it is."""
    ratio_clip: float = Field(0.2, gt=0.0, lt=1.0)
    """How far a ratio may leave 1 before it has no gradient."""
    stop_kl: PositiveFloat | None = None
    """A rollout is left when half the mean squared change of log-probabilities passes this; null: never."""
    answers_at_once: PositiveInt = 64
    """Answers that a rank generates together."""
    samples: int = Field(4, ge=0)
    """Answers of each rollout that are kept in rollouts.jsonl."""

    epsilon: PositiveFloat = 1e-5
    """Adam's epsilon; larger than in pretraining, as published."""
    weight_decay: float = Field(0.0, ge=0.0)
    """Decoupled weight decay of matrices."""
    spike_threshold: PositiveFloat | None = None
    """A policy's loss has no level to be measured against, so no step is called a spike."""

    @property
    def first_coefficient(self) -> float:
        """Weight of the divergence in rewards to begin with."""
        return 0.0

    @model_validator(mode="after")
    def _rollouts_fit(self) -> Self:
        if self.rollout_batch % self.global_batch:
            raise ValueError(
                f"rollout_batch {self.rollout_batch} is not divisible by global_batch {self.global_batch}"
            )
        if self.rollout_batch < FEWEST:
            raise ValueError(f"rollout_batch {self.rollout_batch} is too few; {FEWEST} or more are needed")
        if self.ramp_up or self.spike_rollbacks:
            raise ValueError(
                "ramp_up and spike_rollbacks do not go with rollouts, which are not a function of the step"
            )
        return self


class GRPOConfig(RolloutConfig):
    """Group relative policy optimisation."""

    group: int = Field(8, ge=2, le=10**4)
    """Answers to each prompt."""
    kl_coefficient: float = Field(0.04, ge=0.0)
    """Weight of the divergence from the reference in the loss (k3); 0 needs no reference."""
    ratio_clip_high: float | None = Field(None, gt=0.0)
    """The upper clip where it is another than `ratio_clip`."""
    aggregation: Literal["grpo", "dapo", "dr_grpo"] = "dapo"
    """How tokens are averaged: each answer first; all alike; all alike over the longest that there can be."""
    scale_by_deviation: bool = True
    """Whether advantages are divided by their group's standard deviation."""

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        if self.rollout_batch % self.group:
            raise ValueError(f"rollout_batch {self.rollout_batch} is not divisible by group {self.group}")
        return self


class PPOConfig(RolloutConfig):
    """Proximal policy optimisation with a value model."""

    epochs: PositiveInt = 4
    """How often each rollout is learned."""
    kl_coefficient: float = Field(0.05, ge=0.0)
    """Weight of the divergence from the reference in the rewards (k1), to begin with."""
    target_kl: PositiveFloat | None = None
    """Divergence that the coefficient is adapted to, a sum over an answer's tokens; null leaves it fixed."""
    kl_horizon: PositiveInt = 10_000
    """Episodes in which the coefficient can adapt by its own size."""
    gamma: float = Field(1.0, gt=0.0, le=1.0)
    """Discount of later rewards."""
    decay: float = Field(0.95, ge=0.0, le=1.0)
    """Lambda of generalised advantage estimation."""
    value_clip: PositiveFloat = 0.2
    """How far a value may leave the old one before it has no gradient."""
    value_weight: PositiveFloat = 0.1
    """Weight of the value model's loss."""
    whiten_rewards: bool = False
    """Whether rewards have deviation 1 in each rollout; their mean stays."""
    ptx: float = Field(0.0, ge=0.0)
    """Weight of a pretraining loss on as many samples of `pretraining` as there are answers (PPO-ptx)."""

    @property
    def first_coefficient(self) -> float:
        """The same."""
        return self.kl_coefficient
