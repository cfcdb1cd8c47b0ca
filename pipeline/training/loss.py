"""The loss of every objective: cross-entropy weighted by position, and that of a sentence task beside it."""

from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import parallel_state
from megatron.core.tensor_parallel import vocab_parallel_cross_entropy
from torch import Tensor

from pipeline.models.layer import Flow

CPU_CHUNK, GPU_CHUNK = 2**18, 2**26
"""Logits that are worked on together: what fits a core's cache, and what fills a GPU."""


def loss(outputs: Flow, labels: tuple[Tensor, ...]) -> Tensor:
    """Sum of weight times cross-entropy, in nats, over positions and over the labels of a sentence task.

    `labels`, in the order of `LABELS`, are targets [B, S] and weights [B, S], and with a sentence task its
    labels [B] and weights [B]. A loss that is not finite has no gradient that is.
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
    targets_SB, weights_SB = targets_BS.t().contiguous(), weights_BS.t().contiguous()
    if parallel_state.get_tensor_model_parallel_world_size() > 1:
        return (vocab_parallel_cross_entropy(logits_SBV.float(), targets_SB) * weights_SB).sum()
    total: Tensor = _WeightedCrossEntropy.apply(
        logits_SBV.flatten(0, 1), targets_SB.flatten(), weights_SB.flatten()
    )
    return total


class _WeightedCrossEntropy(torch.autograd.Function):
    """The gradient of a weighted sum is known as soon as the logits are: one pass, a few rows at a time.

    So no second table as large as the logits is read and written, and half-precision logits are never copied
    to float32 whole.
    """

    @staticmethod
    def forward(ctx: Any, logits_PV: Tensor, targets_P: Tensor, weights_P: Tensor) -> Tensor:
        total = torch.zeros((), device=logits_PV.device)
        gradient_PV = torch.empty_like(logits_PV) if ctx.needs_input_grad[0] else None
        rows = max(1, (CPU_CHUNK if logits_PV.device.type == "cpu" else GPU_CHUNK) // logits_PV.shape[1])
        for start in range(0, logits_PV.shape[0], rows):
            part = slice(start, start + rows)
            targets, weights = targets_P[part].unsqueeze(1), weights_P[part].unsqueeze(1)
            chunk = logits_PV[part].float()
            chunk = chunk - chunk.amax(1, keepdim=True)
            chosen = chunk.gather(1, targets)
            sums = chunk.exp_().sum(1, keepdim=True)
            total += ((sums.log() - chosen) * weights).sum()
            if gradient_PV is not None:
                chunk *= weights / sums
                gradient_PV[part] = chunk.scatter_add_(1, targets, -weights)
        ctx.save_for_backward(gradient_PV)
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None, None]:
        (gradient_PV,) = ctx.saved_tensors
        return gradient_PV.mul_(scale), None, None
