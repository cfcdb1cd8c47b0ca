"""Relative positions whose buckets cannot be are refused before anything is built."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from pipeline.config import ModelConfig
from pipeline.models.buckets import relative_buckets


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"relative_distance": 8},
            "relative_distance 8 is not beyond the 16 offsets that 32 relative_buckets",
        ),
        ({"relative_buckets": 1}, "relative_buckets 1 is too few"),
        ({"relative_buckets": 3, "architecture": "encoder"}, "relative_buckets 3 is too few"),
    ],
)
def test_buckets_that_cannot_be(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        ModelConfig(positions="relative", **given)


@pytest.mark.parametrize(
    ("architecture", "ways"),
    [("decoder", [False]), ("encoder", [True]), ("encoder_decoder", [False, True])],
)
@pytest.mark.parametrize(("buckets", "distance"), [(4, 3), (32, 17), (32, 128)])
def test_what_is_allowed_has_a_bucket_for_every_offset(
    architecture: Any, ways: list[bool], buckets: int, distance: int
) -> None:
    ModelConfig(
        positions="relative",
        architecture=architecture,
        relative_buckets=buckets,
        relative_distance=distance,
    )
    for both_ways in ways:
        found = relative_buckets(torch.arange(-1000, 1000), buckets, distance, both_ways)
        assert found.min() >= 0
        assert found.max() < buckets
