"""Muon (Jordan et al. 2024): momentum, made orthogonal by a Newton-Schulz iteration, for matrices of blocks.

Updates have the root mean square of AdamW's (Liu et al. 2025, section 2.2), so that its learning rate and
weight decay serve. The iteration needs the whole matrix: tensor-parallel ranks gather it, and ranks among
which ZeRO cuts it add it up; where one rank holds it all, that rank alone works on it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.optim.pieces import Share, Update, own_run

STATES = ("momentum",)
MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial that pushes singular values towards 1: steep at 0, and near 1 after five rounds."""
ROUNDS = 5


def update(shares: Sequence[Share], how: Update) -> None:
    """One step on matrices, in place."""
    for share in shares:
        momentum, piece = share.states["momentum"], share.piece
        momentum.lerp_(share.gradient, 1 - MOMENTUM)
        looked_ahead = share.gradient.lerp_(momentum, MOMENTUM)  # Nesterov's
        if piece.alone and not piece.length:
            continue  # another rank holds all of it
        step = own_run(piece, orthogonal(how.reach.gather(piece, looked_ahead)))
        size = 0.2 * max(piece.shape) ** 0.5
        share.weight.mul_(1 - how.rate * how.weight_decay)
        share.weight.sub_(step.to(share.weight.device), alpha=how.rate * size)


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly U V' of a matrix U S V': all singular values come near 1. In bfloat16 on a GPU, as published."""
    x = matrix.bfloat16() if matrix.is_cuda else matrix.float()
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.mT
    x = x / x.norm().clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).float()
