"""The best model for a budget (Hoffmann et al. 2022, section 3.3, equation 4), where FLOPs are 6ND.

Of A / N^alpha + B / D^beta under 6ND = C the least is at N = G (C/6)^a and D = (C/6)^b / G, with
G = (alpha A / (beta B))^(1 / (alpha + beta)), a = beta / (alpha + beta) and b = 1 - a.
"""

import numpy as np

from pipeline.scaling.minimize import Array


def exponents(theta: Array) -> Array:
    """a and b [K, 2] of N ~ C^a, D ~ C^b for rows of (log A, log B, log E, alpha, beta) [K, 5]."""
    alpha, beta = theta[:, 3], theta[:, 4]
    return np.stack([beta, alpha], 1) / (alpha + beta)[:, None]


def best(theta: Array, budget: float) -> Array:
    """Parameters, tokens and loss [K, 3] of the best model that `budget` FLOPs can train."""
    a, b, e, alpha, beta = theta.T
    share = exponents(theta)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample whose loss does not fall has no best
        shift = (np.log(alpha) + a - np.log(beta) - b) / (alpha + beta)
    n, d = shift + share[:, 0] * np.log(budget / 6), -shift + share[:, 1] * np.log(budget / 6)
    loss = np.exp(e) + np.exp(a - alpha * n) + np.exp(b - beta * d)
    return np.stack([np.exp(n), np.exp(d), loss], 1)
