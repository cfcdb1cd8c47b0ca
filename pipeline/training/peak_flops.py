"""What MFU is measured against: the most floating-point operations a second that the job's devices could do.

    MFU = model FLOPs of a step / (seconds of the step x peak FLOP/s of all devices together)

The model FLOPs are those of `pipeline.costs.flops`: what the mathematics needs, causal attention counted
half and recomputation not at all. A GPU's peak is the dense one of its maker's data sheet for the precision
of the matrix products, without sparsity. A CPU has no such sheet, so its peak is measured when a training
starts: the best of some large float32 products, run by all ranks at once, since they share the machine. A
device that is not in the table has no peak, and the run no MFU.
"""

import time
from typing import NamedTuple

import torch
import torch.distributed as dist

from pipeline.costs.devices import by_driver
from pipeline.distributed.world import World

SIZE, SECONDS = 1024, 0.2


class Peak(NamedTuple):
    """The most that the job's devices could do."""

    flops: float
    """FLOP/s of all devices together."""
    words: str
    """What that is of, for people."""


def find_peak(world: World, dtype: torch.dtype) -> Peak | None:
    """The peak of the job's devices; None where it is not known. All ranks call this together."""
    if world.device.type == "cuda":
        name = torch.cuda.get_device_name(world.device)
        one = data_sheet(name, dtype)
        precision = str(dtype).removeprefix("torch.")
        words = f"{world.size} x {name}, {precision}, data sheet"
        return None if one is None else Peak(one * world.size, words)
    total = torch.tensor([measure()], dtype=torch.float64)
    dist.all_reduce(total)
    return Peak(
        float(total), f"{world.size} processes, measured float32 products of {SIZE} x {SIZE} matrices"
    )


def data_sheet(name: str, dtype: torch.dtype) -> float | None:
    """FLOP/s of a GPU by the name that its driver gives it.

    >>> data_sheet("NVIDIA H100 80GB HBM3", torch.bfloat16)
    989400000000000.0
    """
    device = by_driver(name)
    return device.peak(str(dtype).removeprefix("torch.")) or None if device else None


def measure() -> float:
    """FLOP/s of the best of some float32 matrix products on this rank's threads."""
    left = right = torch.ones(SIZE, SIZE)
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end or best == float("inf"):
        began = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - began)
    return 2.0 * SIZE**3 / best
