"""LAMB (You et al. 2020, algorithm 2): AdamW whose step on each matrix is as long as the matrix is large.

As in the authors' code, biases and norms are not scaled (they are left to AdamW), and a parameter or an
update of all zeros has the factor 1. Norms are of whole parameters, over all ranks.
"""

from collections.abc import Sequence

import torch

from pipeline.optim import adamw
from pipeline.optim.pieces import Share, Update

STATES = adamw.STATES


def update(shares: Sequence[Share], how: Update) -> None:
    """One step, in place."""
    squares = []
    for share in shares:
        step = adamw.direction(share, how).add_(share.weight, alpha=how.weight_decay)
        share.gradient.copy_(step)
        squares.append(torch.stack([share.weight.square().sum(), step.square().sum()]))
    for share, (of_weight, of_step) in zip(shares, how.reach.add_up(shares, squares), strict=True):
        ratio = torch.where((of_weight > 0) & (of_step > 0), (of_weight / of_step).sqrt(), 1.0)
        share.weight.sub_(share.gradient * (how.rate * ratio))
