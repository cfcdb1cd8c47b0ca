"""Losses as weighted sums, and their gradients: cross-entropy of tokens over tensor ranks, and of classes.

An engine scales the weights of a step, so a sum here becomes a mean over the global batch there.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from megatron.core import parallel_state
from megatron.core.tensor_parallel import vocab_parallel_cross_entropy
from megatron.core.tensor_parallel.mappings import reduce_from_tensor_model_parallel_region
from torch import Tensor

CPU_CHUNK, GPU_CHUNK = 2**18, 2**26
"""Logits that are worked on together: what fits a core's cache, and what fills a GPU."""


def spread(loss: Tensor) -> Tensor:
    """The same loss; where it is not finite its gradients are NaN, which every rank learns from their norm.

    A target whose logit is -inf has an infinite loss and finite gradients.
    """
    return loss * torch.where(loss.detach().isfinite(), 1.0, torch.nan)


def weighted_cross_entropy(
    logits_SBV: Tensor, targets_BS: Tensor, weights_BS: Tensor, smoothing: float = 0.0
) -> Tensor:
    """Sum over positions of weight times cross-entropy; the logits are this tensor rank's columns.

    Over several tensor ranks float32 logits are overwritten, so whatever else reads them comes before.

    With `smoothing` e the wanted distribution is (1 - e) at the target and e spread evenly over the
    vocabulary (Szegedy et al. 2016, section 7). Logits of minus infinity, those of the rows that fill up the
    word table, take no part of it.
    """
    targets_SB, weights_SB = targets_BS.t().contiguous(), weights_BS.t().contiguous()
    parts = parallel_state.get_tensor_model_parallel_world_size() > 1
    if parts and smoothing:  # Megatron-core's overwrites the logits, which smoothing has yet to see
        total = -(token_log_probabilities(logits_SBV, targets_BS) * weights_BS).sum()
    elif parts:
        total = (vocab_parallel_cross_entropy(logits_SBV.float(), targets_SB) * weights_SB).sum()
    else:
        total = _WeightedCrossEntropy.apply(
            logits_SBV.flatten(0, 1), targets_SB.flatten(), weights_SB.flatten()
        )
    if smoothing:
        total = total + smoothing * (above_mean(logits_SBV, targets_SB) * weights_SB).sum()
    return total


def above_mean(logits_SBV: Tensor, targets_SB: Tensor) -> Tensor:
    """[S, B] by how much the target's logit is above the mean of the vocabulary's.

    The mean of -log p over the vocabulary is larger by it than -log p of the target.
    """
    columns = logits_SBV.shape[-1]
    own_SB = targets_SB - columns * parallel_state.get_tensor_model_parallel_rank()
    chosen_SB = logits_SBV.float().gather(2, own_SB.clamp(0, columns - 1).unsqueeze(2)).squeeze(2)
    chosen_SB = chosen_SB.where((own_SB >= 0) & (own_SB < columns), 0.0)
    real_SBV = ~logits_SBV.isneginf()
    sums_SB = logits_SBV.where(real_SBV, 0.0).sum(2, dtype=torch.float32)
    sums = reduce_from_tensor_model_parallel_region(torch.stack([chosen_SB, sums_SB]))
    count_SB = reduce_from_tensor_model_parallel_region(real_SBV.sum(2, dtype=torch.float32))
    return sums[0] - sums[1] / count_SB


def token_log_probabilities(logits_SBV: Tensor, targets_BS: Tensor) -> Tensor:
    """[B, S] the log-probability of each target; the logits, this tensor rank's columns, stay as they are."""
    group = parallel_state.get_tensor_model_parallel_group()
    columns = logits_SBV.shape[-1]
    own_SB = targets_BS.t() - columns * parallel_state.get_tensor_model_parallel_rank()
    largest_SB = logits_SBV.detach().amax(2).float()
    dist.all_reduce(largest_SB, dist.ReduceOp.MAX, group=group)
    shifted_SBV = logits_SBV.float() - largest_SB.unsqueeze(2)
    chosen_SB = shifted_SBV.gather(2, own_SB.clamp(0, columns - 1).unsqueeze(2)).squeeze(2)
    chosen_SB = chosen_SB.where((own_SB >= 0) & (own_SB < columns), 0.0)
    sums = reduce_from_tensor_model_parallel_region(torch.stack([chosen_SB, shifted_SBV.exp().sum(2)]))
    return (sums[0] - sums[1].log()).t()


def weighted_classes(
    logits_BC: Tensor, labels_B: Tensor, weights_B: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Weighted sums of the cross-entropy of C classes and of right answers, on every tensor rank."""
    logits_BC = logits_BC.float()
    losses_B = F.cross_entropy(logits_BC, labels_B, reduction="none", label_smoothing=smoothing)
    right_B = (logits_BC.detach().argmax(1) == labels_B).float()
    return (losses_B * weights_B).sum(), (right_B * weights_B).sum()


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
