"""A host that loses its processes and then its link: `tests.distributed.lost_hosts` in short."""

from pathlib import Path

import pytest

from launch.recipe import load
from tests.distributed import lost_hosts
from tests.distributed.hosts import hosts, why_not
from tests.distributed.processes import run_world
from tests.pipeline.stages_of import run_pretraining

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]


def test_the_first_host_is_lost(tmp_path: Path, tiny_dataset: Path) -> None:
    """The host of rank 0, which holds the run's lock and writes its metrics.

    Losses follow one process within 1e-4: float32 sums in the orders of three, two and one ranks, over 120
    Adam steps.
    """
    lost_hosts.prepare(tmp_path, tiny_dataset, steps=120)
    config = load(tmp_path / "lost.yaml").pipeline()
    run_world(1, run_pretraining, config, tmp_path / "calm")
    with hosts(3) as cluster:
        result = lost_hosts.disturb(cluster, tmp_path, host=1, steps=120)
    assert len(result.lost) == 2
    assert result.difference < 1e-4
    assert result.without == "going on without host1: 2 processes on host2, host3"
    assert "failed after step" in result.log
