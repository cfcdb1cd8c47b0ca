"""Layouts: all that are possible, those that fit, in order; and what to say where there is none."""

import pytest

from data_prep.contract.settings import InputError
from pipeline.costs import memory
from pipeline.costs.devices import BY_NAME
from pipeline.costs.memory import TIGHT
from pipeline.planning.cluster import Cluster
from pipeline.planning.search import Wanted, best, candidates, need_of
from tests.pipeline.planning.made import gpt, preset

H100 = BY_NAME["h100"]


def test_plans_fit_multiply_to_the_cluster_and_stand_in_order() -> None:
    plans = best(preset("llama2-7b"), Cluster(H100, 16), Wanted(64))
    assert len(plans) > 5
    seconds = [plan.step.seconds for plan in plans]
    assert seconds == sorted(seconds)
    for plan in plans:
        assert plan.layout.ranks == 16
        assert plan.layout.global_batch == 64
        assert plan.memory.total <= TIGHT * H100.memory
        assert 0.05 < plan.mfu <= plan.hfu < H100.matmul
        assert plan.tokens_per_second * plan.step.seconds == pytest.approx(64 * 2048)
    cut = [(plan.layout.tensor, plan.layout.pipeline, plan.layout.zero_stage) for plan in plans]
    assert len(set(cut)) == len(cut)


def test_the_need_is_that_of_the_rank_with_most_in_every_layout() -> None:
    task, seen = gpt(12, 1024, 16), 0
    for layout, blocks in candidates(task, Cluster(H100, 8), Wanted(16)):
        config = task.laid(layout)
        whole = memory.peak(config, task.lengths, config.train, task.rows, layout.data, True)
        assert need_of(task, layout, blocks).total == whole.total
        seen += 1
    assert seen > 50


def test_recomputation_is_counted_in_hfu_alone() -> None:
    [plan] = best(preset("llama-65b"), Cluster(H100, 64), Wanted(256, 1, 1, 3, 4))
    assert plan.layout.recompute == "full"
    assert 1.25 < plan.hfu / plan.mfu < 4 / 3


def test_what_is_asked_is_kept() -> None:
    plans = best(preset("llama2-7b"), Cluster(H100, 16), Wanted(64, tensor=2, zero_stage=2, micro_batch=1))
    assert {(p.layout.tensor, p.layout.zero_stage, p.layout.micro_batch) for p in plans} == {(2, 2, 1)}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(64, tensor=3), "tensor 3"),
        (Wanted(64, pipeline=64), "pipeline 64"),
        (Wanted(64, pipeline=2, zero_stage=3), "zero stage 3"),
        (Wanted(7, pipeline=1), "a global batch of 7"),
        (Wanted(64, micro_batch=0), "micro batch 0"),
        (Wanted(64, tensor=0), "tensor 0"),
    ],
)
def test_an_impossible_layout_is_one_sentence(wanted: Wanted, said: str) -> None:
    with pytest.raises(InputError, match=said):
        best(preset("llama2-7b"), Cluster(H100, 16), wanted)


def test_a_model_that_fits_nowhere_is_said_with_what_it_needs() -> None:
    with pytest.raises(InputError, match=r"no layout fits: the smallest needs .* GiB a GPU .*80 GiB"):
        best(preset("gpt3-175b"), Cluster(H100, 8), Wanted(64))
