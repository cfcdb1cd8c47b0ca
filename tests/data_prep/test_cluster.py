"""Ray on a machine that has much else to do."""

from typing import Any

import pytest
import ray

from data_prep import cluster

SLOW = Exception("The current node timed out during startup. This could happen because ...")


def test_ray_is_started_again_where_it_was_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    fails = [SLOW, SLOW]

    def init(**options: Any) -> None:
        assert options["address"] == "local"
        if fails:
            raise fails.pop()

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(cluster, "watch", list)
    cluster.Cluster(1)._start_here()
    assert not fails
    fails += cluster.START_TRIES * [SLOW]
    with pytest.raises(Exception, match="timed out during startup"):
        cluster.Cluster(1)._start_here()
    fails[:] = [ValueError("something else")]
    with pytest.raises(ValueError, match="something else"):
        cluster.Cluster(1)._start_here()
