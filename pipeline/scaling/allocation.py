"""How the best size and token count grow with compute, from points that say what was best there."""

from dataclasses import dataclass

import numpy as np

from pipeline.scaling.minimize import Array


@dataclass(frozen=True)
class Allocation:
    """N = k_N C^a and D = k_D C^b through points; `lines` [K, 2, 2] are the same of resamples.

    A line is (log k, exponent); in `law` [2, 2] and `lines` that of N stands before that of D.
    """

    flops: Array
    """Of each point [M]."""
    parameters: Array
    tokens: Array
    loss: Array
    law: Array
    lines: Array

    def at(self, budget: float) -> tuple[Array, Array]:
        """Parameters and tokens [2] for a budget in FLOPs, and those of each resample [K, 2]."""
        log_c = np.log(budget)
        return np.exp(self.law @ [1.0, log_c]), np.exp(self.lines @ [1.0, log_c])
