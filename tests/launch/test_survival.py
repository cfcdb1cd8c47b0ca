"""A training that is killed and stopped ends as one that never was: `tests.distributed.kills` in short."""

import random
import subprocess
from pathlib import Path

import pytest

from tests.distributed import kills

PLAN = [("save", "rank"), ("rename", "supervisor")]


@pytest.mark.slow
def test_two_kills_and_a_stop(tmp_path: Path, tiny_dataset: Path) -> None:
    kills.prepare(tmp_path, tiny_dataset, steps=90)
    subprocess.run(kills.command(tmp_path, tmp_path / "calm"), check=True, env=kills.ENVIRONMENT)
    training = kills.disturb(tmp_path, PLAN, random.Random(0))
    assert sorted(training.kills) == sorted(PLAN)
    kills.assert_equal(tmp_path)
    assert "restart 1 in 0 s" in training.log.read_text()
