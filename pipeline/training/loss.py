"""The loss of every objective: cross-entropy weighted by position."""

import torch
import torch.nn.functional as F
from megatron.core import parallel_state
from megatron.core.tensor_parallel import vocab_parallel_cross_entropy
from torch import Tensor


def weighted_cross_entropy(logits_SBV: Tensor, labels: tuple[Tensor, Tensor]) -> Tensor:
    """Sum over positions of weight times cross-entropy, in nats.

    `logits_SBV` holds this tensor-parallel rank's columns; `labels` are targets [B, S] and weights [B, S]. A
    loss that is not finite has no gradient that is.
    """
    targets_BS, weights_BS = labels
    losses_SB = token_losses(logits_SBV, targets_BS.t())
    return spread((losses_SB * weights_BS.t()).sum())


def spread(loss: Tensor) -> Tensor:
    """The same loss; where it is not finite its gradients are NaN, which every rank learns from their norm.

    A target whose logit is -inf has an infinite loss and finite gradients.
    """
    return loss * torch.where(loss.detach().isfinite(), 1.0, torch.nan)


def token_losses(logits_SBV: Tensor, targets_SB: Tensor) -> Tensor:
    """Cross-entropy of each position in nats, in float32."""
    logits_SBV = logits_SBV.float()
    if parallel_state.get_tensor_model_parallel_world_size() > 1:
        return vocab_parallel_cross_entropy(logits_SBV, targets_SB.contiguous())
    flat = F.cross_entropy(logits_SBV.flatten(0, 1), targets_SB.flatten(), reduction="none")
    return flat.view(targets_SB.shape)
