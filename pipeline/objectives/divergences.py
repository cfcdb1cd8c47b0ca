"""How far a policy is from its reference, estimated from the tokens that were drawn (Schulman 2020)."""

from torch import Tensor


def k1(logs: Tensor, reference: Tensor) -> Tensor:
    """log p - log ref of each token: without bias where p drew it, and of either sign."""
    return logs - reference


def k3(logs: Tensor, reference: Tensor) -> Tensor:
    """exp(log ref - log p) - 1 - (log ref - log p) of each token: without bias too, and never negative."""
    back = reference - logs
    return back.exp() - 1 - back
