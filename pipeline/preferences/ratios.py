"""The check that a policy learns from its own answers: what is scored again must be what was drawn.

Before the first step on new answers every ratio of probabilities is 1. Where it is not, the gradient is of
something else than the policy that answered, and nothing else of a training shows it.
"""

import torch
from torch import Tensor

TOLERANCE = 1e-5
"""Largest |ratio - 1| in float32: the cache and the whole row add the same numbers in different orders."""


def deviation(logs_RS: Tensor, sampled_RS: Tensor, mask_RS: Tensor) -> Tensor:
    """[R] the largest |ratio - 1| among each answer's tokens."""
    return (((logs_RS - sampled_RS) * mask_RS).exp() - 1).abs().amax(1)


def cause(off_R: Tensor, first_R: Tensor, padded_R: Tensor, dtype: torch.dtype) -> str:
    """Why answers that were drawn are not scored as they were drawn.

    off     [R] the largest |ratio - 1| of each answer
    first   [R] that of its first token, which nothing was cached before but the prompt
    padded  [R] whether its prompt stood behind padding when it was drawn
    """
    if dtype != torch.float32:
        return f"{dtype}".removeprefix("torch.") + " rounds the two computations differently"
    wrong = off_R > TOLERANCE
    if padded_R.any() and not (wrong & ~padded_R).any():
        return "only prompts behind padding are off: left padding is seen, or positions count it"
    if not (first_R > TOLERANCE).any():
        return "first tokens are right and later ones are not: the cache of keys and values"
    return "the weights that generate are not those that learn (stale weights), or logits were filtered"


def training_cause(dropout: bool, dtype: torch.dtype) -> str:
    """Why the first minibatch has other ratios than 1 though the evaluating pass agrees."""
    if dropout:
        return "dropout, which the pass that learns has and the one that scores has not; set it to 0"
    if dtype != torch.float32:
        return f"{dtype}".removeprefix("torch.") + " rounds the two passes differently"
    return "the pass that learns computes something else than the one that scores, such as masks or padding"
