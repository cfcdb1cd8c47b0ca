"""The loss of every objective: cross-entropy weighted by position, and that of a sentence task beside it."""

import torch
import torch.nn.functional as F
from megatron.core import parallel_state
from megatron.core.tensor_parallel import vocab_parallel_cross_entropy
from torch import Tensor

from pipeline.models.layer import Flow

LABELS = ("targets", "weights", "next_sentence", "next_sentence_weights")
"""The arrays of a batch that are labels, in the order in which `loss` takes those that are there."""


def loss(outputs: Flow, labels: tuple[Tensor, ...]) -> Tensor:
    """Sum of weight times cross-entropy, in nats, over positions and over the labels of a sentence task.

    `labels` are targets [B, S] and weights [B, S], and with a sentence task its labels [B] and weights [B]. A
    loss that is not finite has no gradient that is.
    """
    total = weighted_cross_entropy(outputs["logits"], labels[0], labels[1])
    if len(labels) > 2:
        logits_B2 = outputs["next_sentence_logits"].float()
        losses_B = F.cross_entropy(logits_B2, labels[2], reduction="none")
        total = total + (losses_B * labels[3]).sum()
    return spread(total)


def spread(loss: Tensor) -> Tensor:
    """The same loss; where it is not finite its gradients are NaN, which every rank learns from their norm.

    A target whose logit is -inf has an infinite loss and finite gradients.
    """
    return loss * torch.where(loss.detach().isfinite(), 1.0, torch.nan)


def weighted_cross_entropy(logits_SBV: Tensor, targets_BS: Tensor, weights_BS: Tensor) -> Tensor:
    """Sum over positions of weight times cross-entropy; the logits are this tensor rank's columns."""
    return (token_losses(logits_SBV, targets_BS.t()) * weights_BS.t()).sum()


def token_losses(logits_SBV: Tensor, targets_SB: Tensor) -> Tensor:
    """Cross-entropy of each position in nats, in float32."""
    logits_SBV = logits_SBV.float()
    if parallel_state.get_tensor_model_parallel_world_size() > 1:
        return vocab_parallel_cross_entropy(logits_SBV, targets_SB.contiguous())
    flat = F.cross_entropy(logits_SBV.flatten(0, 1), targets_SB.flatten(), reduction="none")
    return flat.view(targets_SB.shape)
