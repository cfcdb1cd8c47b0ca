"""Batches in page-locked memory, which a GPU copies from while the host goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.data.pretraining import PretrainingBatches
from tests.pipeline import tiny

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def test_pinned_batches_arrive_whole(tiny_dataset: Path) -> None:
    config = tiny.config(
        train={"global_batch": 8, "micro_batch": 4},
        data={"sequence_length": 32, "attention": "inside_documents"},
    )
    pinned = PretrainingBatches(config, tiny_dataset, 0, 1, pin_memory=True)
    plain = PretrainingBatches(config, tiny_dataset, 0, 1)
    for step in range(5):
        for batch, expected in zip(pinned.step(step), plain.step(step), strict=True):
            for name, array in batch.items():
                host = torch.from_numpy(array)
                assert host.is_pinned()
                there = host.to("cuda", non_blocking=True)
                torch.cuda.synchronize()
                np.testing.assert_array_equal(there.cpu().numpy(), expected[name])
    pinned.close()
    plain.close()
