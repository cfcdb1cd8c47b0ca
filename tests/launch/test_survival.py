"""A training that is killed and stopped ends as one that never was: `tests.distributed.kills` in short."""

import subprocess
from pathlib import Path

from tests.distributed import kills


def test_three_kills_and_a_stop(tmp_path: Path, tiny_dataset: Path) -> None:
    kills.prepare(tmp_path, tiny_dataset, steps=120)
    subprocess.run(kills.command(tmp_path, tmp_path / "calm"), check=True, env=kills.ENVIRONMENT)
    training = kills.disturb(tmp_path, 3, seed=0)
    assert sum(training.kills.values()) == 3
    kills.assert_equal(tmp_path)
    assert "restart 1 in 0 s" in training.log.read_text()
