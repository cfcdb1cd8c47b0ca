"""The learning rate at literal steps."""

import pytest

from pipeline.config import OptimizerConfig
from pipeline.training.lr_schedule import learning_rate

CONFIG = OptimizerConfig(steps=101, warmup_steps=20, learning_rate=1.0, minimum_learning_rate=0.1)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.05), (9, 0.5), (19, 1.0), (20, 1.0), (60, 0.55), (100, 0.1)]
)
def test_warmup_then_cosine(step: int, expected: float) -> None:
    assert learning_rate(step, CONFIG) == pytest.approx(expected)


def test_no_warmup_starts_at_the_peak() -> None:
    assert learning_rate(0, OptimizerConfig(warmup_steps=0, learning_rate=0.5)) == 0.5
