"""Comparisons between the answers to a prompt, by the Bradley-Terry model: what a reward model and DPO share.

The probability that answer i is preferred to j is the logistic function of the difference of their scores.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LABELS = ("targets", "answers", "lengths", "pair_weights")
"""The arrays of `pipeline.preferences.comparisons` that are no inputs."""


def pairwise(scores_PK: Tensor, weights_PKK: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Weighted sums of -log sigmoid(s_i - s_j) and of comparisons that the scores decide alike.

    Equal scores decide half a comparison. With `smoothing` e each comparison is taken as made the other way
    round with this probability: (1 - e) l(d) + e l(-d).
    """
    differences = scores_PK.unsqueeze(2) - scores_PK.unsqueeze(1)
    given = weights_PKK
    if smoothing:
        given = (1 - smoothing) * given + smoothing * given.transpose(1, 2)
    loss = (F.softplus(-differences) * given).sum()
    decided = 0.5 * (1 + differences.detach().sign())
    return loss, (decided * weights_PKK).sum()


def sides(weights_PKK: Tensor) -> tuple[Tensor, Tensor]:
    """[P, K] how much of the comparisons' weight each answer has as the better one and as the worse."""
    return weights_PKK.sum(2), weights_PKK.sum(1)


def per_prompt(values_R: Tensor, weights_PKK: Tensor) -> Tensor:
    """One number a row, as [P, K]."""
    return values_R.view(weights_PKK.shape[:2])


def at_ends(values_RS: Tensor, lengths_R: Tensor) -> Tensor:
    """[R] the value at each row's last token: where a reward model says what it thinks of the whole."""
    last_R1 = (lengths_R - 1).clamp(min=0).unsqueeze(1)
    return values_RS.gather(1, last_R1).squeeze(1)


def margins(scores_PK: Tensor, weights_PKK: Tensor) -> dict[str, Tensor]:
    """Weighted sums of the better answers' scores, of the worse ones' and of the differences."""
    better, worse = sides(weights_PKK)
    with torch.no_grad():
        chosen, rejected = (scores_PK * better).sum(), (scores_PK * worse).sum()
    return {"reward_chosen": chosen, "reward_rejected": rejected, "margin": chosen - rejected}
