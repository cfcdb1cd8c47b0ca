"""Every image of a global batch with every text of it, over data-parallel ranks."""

import math
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from megatron.core import parallel_state
from torch import Tensor

from pipeline.models.layer import Flow


class Cosines(NamedTuple):
    """This rank's rows [B, R B]; columns of pairs without weight are minus infinity."""

    of_images: Tensor
    """Its images with all texts."""
    of_texts: Tensor
    """Its texts with all images."""


class Rows(torch.autograd.Function):
    """The rows of all data-parallel ranks, in their order.

    All ranks use what they gather, so the gradient of a rank's own rows is the sum over the ranks.
    """

    @staticmethod
    def forward(ctx: Any, own_BD: Tensor) -> Tensor:
        group = parallel_state.get_data_parallel_group()
        found = [torch.empty_like(own_BD) for _ in range(dist.get_world_size(group))]
        dist.all_gather(found, own_BD.contiguous(), group=group)
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, gradient_RD: Tensor) -> Tensor:
        group = parallel_state.get_data_parallel_group()
        total = gradient_RD.contiguous().clone()
        dist.all_reduce(total, group=group)
        return total.chunk(dist.get_world_size(group))[dist.get_rank(group)]


def cosines(outputs: Flow, weights_B: Tensor) -> Cosines:
    """Features of length one of this rank and of all, multiplied."""
    images_BD, texts_BD = outputs["image_features"], outputs["text_features"]
    nobody_R = Rows.apply(weights_B.detach().unsqueeze(1)).squeeze(1) <= 0
    all_texts, all_images = Rows.apply(texts_BD), Rows.apply(images_BD)
    hidden = weights_B.new_zeros(len(nobody_R)).masked_fill(nobody_R, -math.inf)
    return Cosines(images_BD @ all_texts.t() + hidden, texts_BD @ all_images.t() + hidden)


def own_entropies(scores_BR: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """[B] the cross-entropy of each row's own column, in nats, and whether that is the largest."""
    count = len(scores_BR)
    first = count * dist.get_rank(parallel_state.get_data_parallel_group())
    own_B = torch.arange(first, first + count, device=scores_BR.device)
    entropies_B = F.cross_entropy(scale * scores_BR, own_B, reduction="none")
    return entropies_B.nan_to_num(posinf=0.0), scores_BR.argmax(1) == own_B
