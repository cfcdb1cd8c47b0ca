"""What an engine makes of its batches before the model sees them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.models.layer import Flow
from pipeline.objectives.batches import Batch


def tensors(batch: Batch, device: torch.device) -> Flow:
    """The arrays of a batch on a device; what is a tensor already stays one."""
    return {name: _tensor(array).to(device, non_blocking=True) for name, array in batch.items()}


def _tensor(array: Any) -> Tensor:
    return array if isinstance(array, Tensor) else torch.from_numpy(array)


def weight_sum(batches: list[Batch], name: str) -> float:
    """The sum of an array over batches, in double precision."""
    return sum(_sum(batch[name]) for batch in batches)


def _sum(array: Any) -> float:
    if isinstance(array, Tensor):
        return float(array.sum(dtype=torch.float64))
    return float(np.sum(array, dtype=np.float64))


def alike(batches: list[Batch]) -> list[Batch]:
    """The batches of a step with the same names: where one has padding, all say which tokens are none."""
    names = max(batches, key=len)
    if all(len(batch) == len(names) for batch in batches):
        return batches
    ones = {"segments": np.ones(names["segments"].shape, names["segments"].dtype)}
    return [{name: (ones | batch)[name] for name in names} for batch in batches]


def unmarked(batch: Batch) -> Batch:
    """A batch without `encoder_segments` where no padding is marked, so that no mask is made and applied."""
    segments = batch.get("encoder_segments")
    if segments is None or not segments.all():
        return batch
    return {name: array for name, array in batch.items() if name != "encoder_segments"}


def with_target_segments(batch: Batch) -> Batch:
    """A batch that says where a decoder's sequences end: nothing depends on what comes after the last token
    with a weight, which would count in how evenly experts are used.

    Weights 0 1 0 1 0 0 give `target_segments` 1 1 1 1 0 0.
    """
    if "weights" not in batch or batch["weights"].shape != batch["tokens"].shape:
        return batch
    counts = _tensor(batch["weights"]).ne(0).flip(-1).cumsum(-1).flip(-1)
    return batch | {"target_segments": counts.gt(0).int()}


def filled_up(batch: Batch, multiple: int) -> Batch:
    """A batch whose decoder's sequences are a multiple long, with positions of no weight at their ends.

    Images have no such sequences: their length is checked with the configuration.
    """
    if "tokens" not in batch:
        return batch
    short = -batch["tokens"].shape[1] % multiple
    if not short:
        return batch
    names = {"tokens", "targets", "weights"}
    return {name: np.pad(a, ((0, 0), (0, short))) if name in names else a for name, a in batch.items()}
