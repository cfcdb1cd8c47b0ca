"""Group relative policy optimisation: advantages against other answers to the same prompt (Shao et al. 2024).

-min(ratio A, clip(ratio) A) + beta k3(policy, reference) of each token. How tokens are averaged differs
between implementations, and is the usual reason why results differ:

    grpo     the mean of each answer, then over answers
    dapo     over all tokens of the global batch (Yu et al. 2025)
    dr_grpo  the sum of each answer over the longest that there can be, then over answers (Liu et al. 2025)

`token_weights` [R, S] of a batch have these weights, and beside the answers what makes them sum to the
divisor.
"""

from typing import Literal, get_args

from torch import Tensor

from pipeline.models.layer import Flow
from pipeline.objectives.divergences import k3
from pipeline.objectives.policy import METRICS, PolicyLoss

Aggregation = Literal["grpo", "dapo", "dr_grpo"]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)


def token_weights(answers_RS: Tensor, aggregation: Aggregation, longest: int) -> Tensor:
    """[R, S] weights whose weighted mean is the aggregation, from 1 where there is a token of an answer.

    For dr_grpo the first position, which is a prompt's and has no loss, has the weight of what is missing to
    the longest answer.
    """
    if aggregation == "dapo":
        return answers_RS
    lengths_R1 = answers_RS.sum(1, keepdim=True)
    if aggregation == "grpo":
        return answers_RS / lengths_R1.clamp(min=1)
    weights = answers_RS.clone()
    weights[:, :1] += longest - lengths_R1
    return weights


class GRPO(PolicyLoss):
    """The loss of GRPO; without `beta` there is no reference."""

    def __init__(self, beta: float, low: float, high: float, temperature: float) -> None:
        super().__init__(low, high, temperature)
        self.beta = beta

    @property
    def labels(self) -> tuple[str, ...]:
        own = ("targets", "lengths", "old_logs", "advantages", "answer_weights", "token_weights")
        return (*own, "reference_logs") if self.beta else own

    @property
    def metrics(self) -> tuple[str, ...]:
        return (*METRICS, "kl_loss") if self.beta else METRICS

    def __call__(self, outputs: Flow, labels: Flow) -> tuple[Tensor, dict[str, Tensor]]:
        """Sums over the tokens of a micro batch."""
        logs, losses, metrics = self.terms(outputs, labels)
        if self.beta:
            weights = labels["answer_weights"]
            apart = k3(logs, labels["reference_logs"].where(weights > 0, 0.0))
            losses = losses + self.beta * apart
            metrics["kl_loss"] = (apart * weights).sum().detach()
        return (losses * labels["token_weights"]).sum(), metrics
