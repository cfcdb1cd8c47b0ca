"""How scores become what a policy learns from: the two methods, each a pure function of a scored rollout."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from pipeline.objectives.divergences import k1, k3
from pipeline.objectives.grpo import Aggregation, token_weights
from pipeline.preferences.advantages import (
    adapted,
    explained_variance,
    generalised,
    relative,
    token_rewards,
    whitened,
)
from pipeline.preferences.rollouts import Arrays


class Learned(NamedTuple):
    """What is made of a rollout."""

    arrays: Arrays
    """Arrays [R, S] for the loss."""
    metrics: dict[str, float]
    coefficient: float
    """That of the divergence in the next rollout."""


class Method(ABC):
    """A way to learn from scored answers; `group` of them are to the same prompt."""

    group = 1

    @abstractmethod
    def learn(self, arrays: Arrays, scores_R: Tensor, coefficient: float) -> Learned:
        """What a minibatch needs of a rollout."""


def divergence(arrays: Arrays) -> dict[str, float]:
    """Both estimates of KL(policy || reference), sums over an answer's tokens, means over answers."""
    if "reference" not in arrays:
        return {}
    logs, reference, mask = arrays["logs"], arrays["reference"], arrays["answers"]
    return {
        "kl": float((k1(logs, reference) * mask).sum(1).mean()),
        "kl_k3": float((k3(logs, reference) * mask).sum(1).mean()),
    }


class GroupRelative(Method):
    """GRPO: the score above the group's mean is the advantage of every token."""

    def __init__(self, group: int, aggregation: Aggregation, by_deviation: bool, longest: int) -> None:
        self.group, self.aggregation, self.by_deviation = group, aggregation, by_deviation
        self.longest = longest

    def learn(self, arrays: Arrays, scores_R: Tensor, coefficient: float) -> Learned:
        mask = arrays["answers"]
        advantages_R, alike = relative(scores_R, self.group, self.by_deviation)
        found = {
            "advantages": advantages_R.unsqueeze(1) * mask,
            "old_logs": arrays["logs"],
            "answer_weights": mask,
            "token_weights": token_weights(mask, self.aggregation, self.longest),
        }
        if "reference" in arrays:
            found["reference_logs"] = arrays["reference"]
        groups = len(scores_R) // self.group
        return Learned(found, {"groups_without_gradient": alike / groups}, coefficient)


class ActorCritic(Method):
    """PPO: the divergence is in each token's reward, the score in the last one's; GAE on a value model."""

    def __init__(
        self, gamma: float, decay: float, whiten_rewards: bool, target: float | None, horizon: int
    ) -> None:
        self.gamma, self.decay, self.whiten_rewards = gamma, decay, whiten_rewards
        self.target, self.horizon = target, horizon

    def learn(self, arrays: Arrays, scores_R: Tensor, coefficient: float) -> Learned:
        mask, values = arrays["answers"], arrays["values"]
        apart = k1(arrays["logs"], arrays["reference"]) * mask
        rewards = token_rewards(scores_R, apart, mask, coefficient)
        if self.whiten_rewards:
            rewards = whitened(rewards, mask, shift=False)
        advantages, returns = generalised(values, rewards, mask, self.gamma, self.decay)
        found = {
            "advantages": whitened(advantages, mask),
            "returns": returns,
            "old_logs": arrays["logs"],
            "old_values": values,
            "answer_weights": mask,
        }
        metrics = {
            "kl_coefficient": coefficient,
            "explained_variance": explained_variance(values, returns, mask),
        }
        if self.target is not None:
            measured = float(apart.sum(1).mean())
            coefficient = adapted(coefficient, measured, self.target, len(scores_R), self.horizon)
        return Learned(found, metrics, coefficient)
