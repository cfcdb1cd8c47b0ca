"""T5's buckets of relative positions (Raffel et al. 2020, section 2.1)."""

import math

import torch
from torch import Tensor


def relative_buckets(offsets: Tensor, buckets: int, distance: int, both_ways: bool) -> Tensor:
    """Bucket of each offset (key's place minus query's): exact while near, then by its logarithm.

    With `both_ways` the upper half of the buckets is for keys after the query; else those count as 0.

    >>> relative_buckets(torch.tensor([-20, -3, 0, 3, 20]), 32, 128, True).tolist()
    [10, 3, 0, 19, 26]
    """
    side = torch.zeros_like(offsets)
    if both_ways:
        buckets //= 2
        side = (offsets > 0) * buckets
        steps = offsets.abs()
    else:
        steps = (-offsets).clamp(min=0)
    exact = buckets // 2
    scale = (buckets - exact) / math.log(distance / exact)
    far = exact + (torch.log(steps.clamp(min=1).float() / exact) * scale).long()
    return side + torch.where(steps < exact, steps, far.clamp(max=buckets - 1))


def bucket_offsets(buckets: int, distance: int, both_ways: bool) -> Tensor:
    """[B] the mean offset of each bucket up to `distance`; NaN where it has none.

    >>> bucket_offsets(8, 8, True).tolist()
    [0.0, -1.0, -2.5, -6.0, nan, 1.0, 2.5, 6.0]
    """
    offsets = torch.arange(-distance, distance + 1 if both_ways else 1)
    own = relative_buckets(offsets, buckets, distance, both_ways)
    return own.bincount(offsets.float(), buckets) / own.bincount(minlength=buckets)
