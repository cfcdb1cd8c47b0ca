"""Direct preference optimisation: a policy from comparisons, without a reward model (Rafailov et al. 2023).

loss = -log sigmoid(beta ((log p - log ref) of the better - (log p - log ref) of the worse)), where a log-
probability is the sum over the answer's tokens alone. beta (log p - log ref) is the reward that the policy
stands for, so this is a reward model's loss on it. The reference's sums are a label, made by a frozen
companion.
"""

import torch
from torch import Tensor

from pipeline.models.layer import Flow
from pipeline.objectives.batches import Batch
from pipeline.objectives.divergences import k3
from pipeline.objectives.loss import Loss
from pipeline.objectives.losses import token_log_probabilities
from pipeline.objectives.pairs import LABELS, margins, pairwise, per_prompt, sides

REFERENCE = "reference_logs"
"""The label [R, S]: the reference's log-probability of each target."""


class DPO(Loss):
    """The sigmoid loss; `smoothing` is the share of comparisons that are taken to be wrong."""

    def __init__(self, beta: float, smoothing: float = 0.0) -> None:
        self.beta, self.smoothing = beta, smoothing

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the comparisons, and the reference's log-probabilities."""
        return (*LABELS, REFERENCE)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Accuracy and implicit rewards; log-probabilities of better and worse answers; a divergence.

        That the log-probability of chosen answers falls is common: the loss asks for the difference alone.
        `kl` is the k3 estimate of KL(policy || reference), summed over an answer's tokens; it is an estimate
        as far as the answers of the data are such as the policy gives.
        """
        return (
            "accuracy",
            "reward_chosen",
            "reward_rejected",
            "margin",
            "log_probability_chosen",
            "log_probability_rejected",
            "kl",
        )

    def __call__(self, outputs: Flow, labels: Flow) -> tuple[Tensor, dict[str, Tensor]]:
        """Sums over the comparisons of a micro batch."""
        weights_PKK, answers_RS = labels["pair_weights"], labels["answers"]
        logs_RS = token_log_probabilities(outputs["logits"], labels["targets"]) * answers_RS
        reference_RS = labels[REFERENCE] * answers_RS
        implicit_PK = per_prompt(self.beta * (logs_RS - reference_RS).sum(1), weights_PKK)
        loss, right = pairwise(implicit_PK, weights_PKK, self.smoothing)
        better, worse = sides(weights_PKK)
        with torch.no_grad():
            sums_PK = per_prompt(logs_RS.sum(1), weights_PKK)
            apart_PK = per_prompt(k3(logs_RS, reference_RS).sum(1), weights_PKK)
        return loss, {
            "accuracy": right,
            **margins(implicit_PK, weights_PKK),
            "log_probability_chosen": (sums_PK * better).sum(),
            "log_probability_rejected": (sums_PK * worse).sum(),
            "kl": (apart_PK * (better + worse)).sum() / 2,
        }

    def tokens(self, batch: Batch) -> int:
        return int(batch["lengths"].sum())
