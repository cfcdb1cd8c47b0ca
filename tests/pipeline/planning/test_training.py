"""A whole training: checkpoints and failures, the best size for a budget, scaling to 10,000 GPUs."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from pipeline.costs.devices import BY_NAME
from pipeline.planning import growth
from pipeline.planning.answer import Answer, Terms
from pipeline.planning.budget import best_for, loss_of
from pipeline.planning.cluster import Cluster
from pipeline.planning.restarts import daly, saving, useful
from pipeline.planning.search import Plan, Wanted, best
from tests.pipeline.planning.made import preset

A100 = BY_NAME["a100-80"]


@pytest.mark.parametrize(("stall", "between"), [(5, 86_400), (60, 86_400), (60, 3_600), (300, 7_200)])
def test_dalys_interval_loses_least(stall: float, between: float) -> None:
    """Against all intervals on a fine grid: within a ten-thousandth of the best share."""
    grid = np.geomspace(10, 10 * between, 4000)
    most = max(useful(one, stall, between, 600) for one in grid)
    assert useful(daly(stall, between), stall, between, 600) > most - 1e-4


def test_the_useful_share_is_that_of_a_simulated_job() -> None:
    """2,000 failures at random: within 2 %."""
    draw, interval, stall, between, restart = random.Random(1), 3000.0, 60.0, 20_000.0, 600.0
    clock = kept = 0.0
    for _ in range(2000):
        until = draw.expovariate(1 / between)
        segments = int(until // (interval + stall))
        kept += segments * interval
        clock += until
        again = draw.expovariate(1 / between)
        while again < restart:  # it fails again before it is up
            clock += again
            again = draw.expovariate(1 / between)
        clock += restart
    assert useful(interval, stall, between, restart) == pytest.approx(kept / clock, rel=0.02)


def test_a_checkpoint_is_not_begun_before_the_last_is_written() -> None:
    assert saving(1, 1e6, 600, shortest=5000).interval == 5000
    assert saving(1, 1e6, 600).interval == pytest.approx(1414, rel=0.01)


def test_the_best_size_by_published_laws() -> None:
    """Against all sizes on a fine grid at Chinchilla's budget; by Kaplan 1.3e9 parameters a PF-day."""
    found = best_for("besiroglu", 5.88e23)
    sizes = np.geomspace(1e10, 1e12, 20_001)
    losses = 1.817235 + 477.842 / sizes**0.347313 + 2143.864 / (5.88e23 / 6 / sizes) ** 0.367183
    assert found.parameters == pytest.approx(sizes[losses.argmin()], rel=1e-2)
    assert found.loss == pytest.approx(losses.min(), rel=1e-9)
    assert 15 < found.tokens / found.parameters < 25  # "about 20", Besiroglu et al. 2024
    assert found.loss == pytest.approx(loss_of("besiroglu", found.parameters, found.tokens))
    assert best_for("kaplan", 8.64e19).parameters == pytest.approx(1.3e9)
    assert loss_of("kaplan", 1e9, 1e10) is None
    other = best_for("hoffmann", 5.88e23)
    assert 6 * other.parameters * other.tokens == pytest.approx(5.88e23)


def test_the_best_size_by_a_file_of_bloomery_scale(tmp_path: Path) -> None:
    def law(**values: float) -> dict[str, object]:
        return {"law": "x", "coefficients": {name: {"value": one} for name, one in values.items()}}

    surface = law(A=477.842, B=2143.864, E=1.817235, alpha=0.347313, beta=0.367183)
    for name, laws in (("a.json", [surface]), ("b.json", [law(k_N=0.1, a=0.5)])):
        (tmp_path / name).write_text(json.dumps({"laws": laws}))
    file = str(tmp_path / "a.json")
    assert best_for(file, 1e21).parameters == pytest.approx(best_for("besiroglu", 1e21).parameters)
    assert best_for(str(tmp_path / "b.json"), 1e20).parameters == pytest.approx(1e9)
    (tmp_path / "c.json").write_text('{"laws": [{"coefficients": {"A": 1}}]}')
    (tmp_path / "d.json").write_text(json.dumps({"laws": [law(E=1.0)]}))
    for name, said in (("c", "no laws as"), ("d", "no law of it"), ("e", "neither a law")):
        with pytest.raises(InputError, match=said):
            best_for(str(tmp_path / f"{name}.json"), 1e20)
    with pytest.raises(InputError, match="above 0"):
        best_for("kaplan", -1.0)


def test_hours_money_and_energy_follow_from_the_speed() -> None:
    plan = best(preset("llama2-7b"), Cluster(A100, 64), Wanted(1024))[0]
    answer = Answer(plan, Terms(1e12, 50_000, 10e9, price=2.0))
    assert answer.hours == pytest.approx(1e12 / plan.tokens_per_second / 3600 / answer.saving.useful)
    assert answer.cost == pytest.approx(2 * 64 * answer.hours)
    assert answer.energy == pytest.approx(64 * answer.hours * 400 / 1e6)
    assert answer.checkpoint_bytes == pytest.approx(12 * plan.task.parameters, rel=0.01)
    assert answer.saving.failures_per_day == pytest.approx(64 * 24 / 50_000)
    assert json.loads(json.dumps(answer.json()))["layout"]["tensor"] == plan.layout.tensor


def test_scaling_loses_with_one_batch_and_keeps_with_a_growing_one() -> None:
    task, wanted = preset("gpt2-1.5b", length=1024), Wanted(8192)

    def share(one: Plan) -> float:
        return Answer(one, Terms(1e12, 50_000, 10e9)).saving.useful

    strong = growth.grow(task, Cluster(A100, 512), wanted, share, weak=False)
    weak = growth.grow(task, Cluster(A100, 512), wanted, share, weak=True)
    assert [one.plan.cluster.devices for one in weak] == growth.counts(8) == [8, 32, 128, 512, 2048, 10240]
    assert {one.plan.layout.global_batch for one in strong} == {8192}
    assert strong[-1].per_gpu < strong[0].per_gpu
    assert weak[-1].per_gpu > 0.75 * weak[0].per_gpu
    for one in [*strong, *weak]:
        assert sum(one.shares().values()) == pytest.approx(1)
        assert min(one.shares().values()) >= 0
    charts = growth.charts(strong, weak)
    assert [chart.name for chart in charts] == [
        "tokens_per_gpu", "tokens_together", "strong_shares", "weak_shares",
    ]  # fmt: skip
