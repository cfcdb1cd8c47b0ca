"""A whole step: identities, and a few published ones from their papers."""

from dataclasses import replace

import pytest

from pipeline.config import DataConfig, ModelConfig, ObjectiveConfig, PipelineConfig
from pipeline.costs.devices import BY_NAME
from pipeline.costs.lengths import Lengths
from pipeline.planning.cluster import Cluster
from pipeline.planning.engine import Engine
from pipeline.planning.layout import Layout
from pipeline.planning.step import step
from pipeline.planning.task import Task
from tests.pipeline.planning.made import gpt, preset

A100 = BY_NAME["a100-80"]
SMALL = gpt(8, 1024, 16)
BLOCKS = [(0, 2)] * 4


def test_the_bubble_is_that_of_1f1b_and_interleaving_divides_it() -> None:
    """(p - 1) / m of the stages' mean time, and a v-th of it (Narayanan et al. 2021, section 2.2)."""
    layout = Layout(tensor=1, pipeline=4, data=1, micro_batch=2, micro_batches=16)
    whole, cut = (step(SMALL, replace(layout, chunks=chunks), Cluster(A100, 4), BLOCKS) for chunks in (1, 2))
    computing = (whole.products + whole.attention + whole.elementwise) / 16  # of the slowest, with the head
    assert 0.5 * 3 * computing < whole.bubble < 1.1 * 3 * computing
    sent = whole.transfers / 16
    assert cut.bubble == pytest.approx((whole.bubble - 3 * sent) / 2 + 1.5 * 2 * sent, rel=1e-9)


def test_twice_the_micro_batches_take_twice_the_computing() -> None:
    layout = Layout(tensor=2, pipeline=1, data=2, micro_batch=2, micro_batches=4, sequence=True)
    once, twice = (
        step(SMALL, replace(layout, micro_batches=count), Cluster(A100, 4), [(0, 8)]) for count in (4, 8)
    )
    for part in ("products", "attention", "elementwise", "tensor"):
        assert getattr(twice, part) == pytest.approx(2 * getattr(once, part))
    assert once.bubble == once.transfers == once.recomputed == once.stragglers == 0
    assert once.seconds == pytest.approx(sum(vars(once).values()))


def test_recomputation_costs_a_forward_pass() -> None:
    """Between a fifth and a half more, as a third of the blocks' work is done twice."""
    layout = Layout(tensor=1, pipeline=1, data=1, micro_batch=4, micro_batches=2)
    without, full = (
        step(SMALL, replace(layout, recompute=how), Cluster(A100, 1), [(0, 8)])  # type: ignore[arg-type]
        for how in ("none", "full")
    )
    assert full.recomputed == pytest.approx(0.31 * (without.products + without.attention), rel=0.35)


def test_stage_3_gathers_more_than_stage_2_and_slow_links_show_it() -> None:
    layout = Layout(tensor=1, pipeline=1, data=64, micro_batch=1, micro_batches=1, zero_stage=3)
    slow = replace(A100, adapter=1e9)
    blocks = [(0, 8)]
    assert (
        step(SMALL, layout, Cluster(slow, 64), blocks).data
        > step(SMALL, replace(layout, zero_stage=1), Cluster(slow, 64), blocks).data
        > step(SMALL, replace(layout, zero_stage=1), Cluster(A100, 64), blocks).data
    )


def test_an_encoder_decoder_costs_what_its_flops_say() -> None:
    """Seconds of products over what the best product would take: near 1 at this size, for both stacks."""
    model = ModelConfig(preset="t5-3b")
    config = PipelineConfig(
        name="t5",
        model=model,
        objective=ObjectiveConfig(kind="span_corruption"),
        data=DataConfig(sequence_length=512),
    )
    task = Task(config, Lengths(512, 128), 32_128)
    found = step(task, Layout(1, 1, 1, 64, 1), Cluster(A100, 1), [(24, 24)])
    ideal = 64 * task.sample_flops / (A100.peak("bfloat16") * A100.matmul)
    assert 1.0 < (found.products + found.attention) / ideal < 1.7


@pytest.mark.parametrize(
    ("model", "gpus", "layout", "seconds"),
    [
        # Narayanan et al. 2021, table 1: hardware TFLOP/s as seconds by their equation 3
        (gpt(80, 12288, 96), 1536, Layout(8, 8, 24, 1, 96, 0, "full", False, 2), 24.82),
        (gpt(96, 16384, 128), 1920, Layout(8, 16, 15, 1, 144, 0, "full", False, 3), 37.61),
        # Korthikanti et al. 2022, table 5
        (gpt(105, 20480, 128), 280, Layout(8, 35, 1, 1, 280, 0, "selective", True, 3), 37.83),
    ],
)
def test_published_steps_within_a_tenth(model: Task, gpus: int, layout: Layout, seconds: float) -> None:
    engine = Engine(attention=None, split_transfers=True, reduce_hidden=0.0)
    each = model.model.layers // layout.pipeline
    found = step(model, layout, Cluster(A100, gpus), [(0, each)] * layout.pipeline, engine)
    assert found.seconds == pytest.approx(seconds, rel=0.1)


def test_llama_trains_at_about_the_published_speed() -> None:
    """65B on 2,048 A100: 380 tokens a second of a GPU (Touvron et al. 2023, section 2.4)."""
    layout = Layout(8, 1, 256, 2, 4, sequence=True)
    found = step(preset("llama-65b"), layout, Cluster(A100, 2048), [(0, 80)])
    assert layout.global_batch * 2048 / found.seconds / 2048 == pytest.approx(380, rel=0.15)
