"""Batch and learning rate of each training of a study, by published rules or from a sweep.

deepseek  Bi et al. 2024, section 3.1: rate .3118 C^-.125, batch .2920 C^.3271 tokens, C in training FLOPs
kaplan    Kaplan et al. 2020, appendix D.6: rate .003239 - .0001395 ln N, N without embeddings
marin     the rule of the Marin project's scaling suites: rate .33 / (width sqrt(batch)), batch in sequences

The first two were found on models of 10^6 parameters and more; what a sweep says of one's own widths counts
more than any of them.
"""

from collections.abc import Mapping

import numpy as np

from data_prep.contract.settings import InputError
from pipeline.config.study import Rule


def batch_by_deepseek(flops: float, tokens_in_sample: int) -> int:
    """Sequences, the power of two that is nearest in logs.

    >>> batch_by_deepseek(1e20, 4096)
    256
    """
    tokens = 0.2920 * flops**0.3271
    return max(1, 2 ** round(np.log2(tokens / tokens_in_sample)))


def rate_by_rule(rule: Rule, flops: float, parameters: float, width: int, batch: int) -> float:
    """Peak learning rate; `parameters` without embeddings. `InputError` where a rule gives none."""
    if rule == "deepseek":
        return float(0.3118 * flops**-0.125)
    if rule == "marin":
        return float(0.33 / (width * np.sqrt(batch)))
    rate = float(0.003239 - 0.0001395 * np.log(parameters))
    if rate <= 0:
        raise InputError(
            f"study.learning_rate kaplan is below 0 for {parameters:.3g} parameters; marin or deepseek is not"
        )
    return rate


def rate_by_width(swept: Mapping[int, float], width: int) -> float:
    """The rate of a sweep at some widths, on the straight lines between them in logs, and on the outer ones
    beyond them.

    >>> round(rate_by_width({32: 0.008, 128: 0.002}, 64), 6)
    0.004
    """
    widths = np.array(sorted(swept), dtype=np.float64)
    rates = np.log([swept[int(one)] for one in widths])
    if len(widths) == 1:
        return float(np.exp(rates[0]))
    at = int(np.clip(np.searchsorted(widths, width), 1, len(widths) - 1))
    low, high = np.log(widths[at - 1]), np.log(widths[at])
    share = (np.log(width) - low) / (high - low)
    return float(np.exp(rates[at - 1] + share * (rates[at] - rates[at - 1])))
