"""AdamW (Kingma and Ba 2015; Loshchilov and Hutter 2019), number by number.

Training with AdamW alone takes torch's fused kernel for it. This is the same rule for the parameters that
another optimizer leaves to it: LAMB's vectors, and what is no matrix of a block beside Muon.
"""

import math
from collections.abc import Sequence

from torch import Tensor

from pipeline.optim.pieces import Share, Update

STATES = ("exp_avg", "exp_avg_sq")


def update(shares: Sequence[Share], how: Update) -> None:
    """One step, in place; no rank needs anything of another."""
    for share in shares:
        share.weight.mul_(1 - how.rate * how.weight_decay)
        share.weight.sub_(direction(share, how), alpha=how.rate)


def direction(share: Share, how: Update) -> Tensor:
    """Average gradient over its root mean square, bias-corrected, after both have taken up the gradient."""
    beta1, beta2 = how.optim.beta1, how.optim.beta2
    average, squares = share.states["exp_avg"], share.states["exp_avg_sq"]
    average.lerp_(share.gradient, 1 - beta1)
    squares.mul_(beta2).addcmul_(share.gradient, share.gradient, value=1 - beta2)
    root = squares.sqrt().div_(math.sqrt(1 - beta2**how.step)).add_(how.optim.epsilon)
    return average.div(root).div_(1 - beta1**how.step)
