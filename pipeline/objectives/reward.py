"""Learning what people prefer: a number for each answer, from comparisons (Ouyang et al. 2022, equation 1).

loss = -1 / C(K, 2) sum over pairs of log sigmoid(r_better - r_worse), all pairs of a prompt in one batch.
"""

from torch import Tensor

from pipeline.models.layer import Flow
from pipeline.objectives.batches import Batch
from pipeline.objectives.loss import Loss
from pipeline.objectives.pairs import LABELS, at_ends, margins, pairwise, per_prompt


class RewardLoss(Loss):
    """Comparisons of the scores at the answers' ends; `centering` c adds c times the mean of (r_i + r_j)^2.

    That keeps rewards near 0, which comparisons leave open (Eisenstein et al. 2023).
    """

    def __init__(self, smoothing: float = 0.0, centering: float = 0.0) -> None:
        self.smoothing, self.centering = smoothing, centering

    @property
    def labels(self) -> tuple[str, ...]:
        return LABELS

    @property
    def metrics(self) -> tuple[str, ...]:
        """Share of comparisons decided rightly, and what better and worse answers are given."""
        return ("accuracy", "reward_chosen", "reward_rejected", "margin")

    def __call__(self, outputs: Flow, labels: Flow) -> tuple[Tensor, dict[str, Tensor]]:
        """Sums over the comparisons of a micro batch."""
        weights_PKK = labels["pair_weights"]
        scores_PK = per_prompt(at_ends(outputs["values"], labels["lengths"]), weights_PKK)
        loss, right = pairwise(scores_PK, weights_PKK, self.smoothing)
        if self.centering:
            sums_PKK = scores_PK.unsqueeze(2) + scores_PK.unsqueeze(1)
            loss = loss + self.centering * (sums_PKK.square() * weights_PKK).sum()
        return loss, {"accuracy": right} | margins(scores_PK, weights_PKK)

    def tokens(self, batch: Batch) -> int:
        return int(batch["lengths"].sum())
