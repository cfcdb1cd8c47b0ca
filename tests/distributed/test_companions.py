"""Frozen models beside the one that learns, and second engines, in every layout."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from pipeline.config import PipelineConfig
from pipeline.distributed import world
from pipeline.distributed.world import World
from pipeline.models.build import Head
from pipeline.models.initialize import draw
from pipeline.objectives.batches import Batch
from pipeline.objectives.loss import Loss
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.companion import Companion
from pipeline.parallel.engine import Engine
from tests.distributed import toy
from tests.distributed.distillation import Distillation, with_teacher
from tests.distributed.processes import leave_groups, run_world

LAYOUTS = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)]
"""Tensor, pipeline and data parallel size."""
FAMILIES = {"gpt": toy.GPT, "llama": toy.LLAMA, "bert": toy.BERT, "t5": toy.T5}
TEACHER: dict[str, Any] = toy.LLAMA | {"layers": 4}
"""Of another family and depth than the learner."""
DROPPING: dict[str, Any] = toy.GPT | {"dropout": 0.1}


def config(model: dict[str, Any], layout: tuple[int, int, int], zero_stage: int = 1) -> PipelineConfig:
    return toy.config(model, layout[0], layout[1], zero_stage)


def companion(given: PipelineConfig, here: World, head: Head | None = None) -> Companion:
    """One with the same random weights in every layout, large enough that logits differ."""
    found = Companion(model_layers(given, toy.VOCABULARY, torch.float32, head), here, given.parallel)
    shapes = found.whole_shapes()
    found.restore(lambda name: draw(name, 7, torch.Size(shapes[name]), 0.2))
    return found


def engine(given: PipelineConfig, here: World, loss: Loss | None = None, head: Head | None = None) -> Engine:
    layers = model_layers(given, toy.VOCABULARY, torch.float32, head)
    loss = loss or objective_of(given.objective)
    return Engine(layers, loss, here, given.parallel, given.train, torch.float32, given.seed)


def micro_batches(given: PipelineConfig, here: World, step: int) -> list[Batch]:
    batch = toy.global_batch(step, architecture=given.model.architecture)
    return toy.share(batch, here, given.train.accumulation(here.data_size))


class Seen(NamedTuple):
    """What a rank of the last pipeline stage has of a global batch."""

    tensor_rank: int
    data_rank: int
    logits: list[Any]
    probabilities: list[Any]


def outputs_of(layout: tuple[int, int, int], kind: str) -> dict[str, Seen | None]:
    """Every family's outputs on this rank, from a companion or from an engine's plain forward."""
    found: dict[str, Seen | None] = {}
    for name, model in FAMILIES.items():
        given = config(model, layout)
        here = world.start(given.parallel, given.seed)
        asked = companion(given, here) if kind == "companion" else engine(given, here)
        batches = micro_batches(given, here, 3)
        logits = [flow["logits"].numpy() for flow in asked.forward(batches)]
        chosen = [one.numpy() for one in asked.log_probabilities(batches)]
        if logits:
            found[name] = Seen(here.tensor_rank, here.data_rank, logits, chosen)
        leave_groups(layout=False)
    world.stop()
    return found


def whole(ranks: list[dict[str, Seen | None]], name: str) -> tuple[Any, Any]:
    """Logits and log-probabilities of all micro batches in the order of the global batch."""
    parts = [rank[name] for rank in ranks if name in rank]
    data = 1 + max(part.data_rank for part in parts)
    rows = []
    for number in range(len(parts[0].logits)):
        for data_rank in range(data):
            own = [part for part in parts if part.data_rank == data_rank]
            columns = [part.logits[number] for part in sorted(own, key=lambda part: part.tensor_rank)]
            rows.append((np.concatenate(columns, axis=2), own[0].probabilities[number]))
    return np.concatenate([one for one, _ in rows], axis=1), np.concatenate([two for _, two in rows])


@pytest.mark.parametrize("kind", ["companion", "engine"])
def test_a_forward_pass_is_that_of_one_process_in_every_layout(kind: str) -> None:
    """To 1e-5 of the largest logit; log-probabilities are those of torch's own log_softmax."""
    alone = run_world(1, outputs_of, (1, 1, 1), kind)
    for layout in LAYOUTS[1:]:
        ranks = run_world(2, outputs_of, layout, kind)
        for name in FAMILIES:
            expected, chosen = whole(alone, name)
            found, probabilities = whole(ranks, name)
            real = np.isfinite(expected)
            assert (np.isfinite(found) == real).all()
            scale = np.abs(expected[real]).max()
            np.testing.assert_allclose(found[real], expected[real], rtol=0, atol=1e-5 * scale, err_msg=name)
            np.testing.assert_allclose(probabilities, chosen, rtol=1e-5, atol=1e-5, err_msg=name)
            architecture = FAMILIES[name].get("architecture", "decoder")
            targets = torch.from_numpy(toy.global_batch(3, architecture=architecture)["targets"])
            logs = torch.from_numpy(expected).transpose(0, 1).log_softmax(-1)
            wanted = logs.gather(2, targets[..., None])[..., 0]
            np.testing.assert_allclose(chosen, wanted, rtol=1e-5, atol=1e-5, err_msg=name)


def distill(layout: tuple[int, int, int], zero_stages: list[int]) -> list[list[float]]:
    """Loss, norm and metrics of distillation steps, and the validation's, in each of some ZeRO stages."""
    found = []
    for zero_stage in zero_stages:
        given = config(toy.GPT, layout, zero_stage)
        here = world.start(given.parallel, given.seed)
        learner, teacher = engine(given, here, Distillation()), companion(config(TEACHER, layout), here)
        seen: list[float] = []
        for step in range(4):
            batches = with_teacher(micro_batches(given, here, step), teacher)
            seen += [*learner.train_step(batches, 1e-2), *learner.metrics.values()]
        seen.append(learner.evaluate(with_teacher(micro_batches(given, here, 9), teacher)))
        assert learner.metrics["divergence"] == pytest.approx(seen[-1], rel=1e-6)
        found.append(seen)
        leave_groups(layout=False)
    world.stop()
    return found


def test_distillation_is_the_same_in_every_layout() -> None:
    """To 1e-4 relative, as gradient norms are; a divergence is a small difference of large sums."""
    alone = run_world(1, distill, (1, 1, 1), [0])[0][0]
    assert alone[2] == pytest.approx(alone[0]), "the loss and the metric of the same name agree"
    for layout in LAYOUTS[1:]:
        stages = [0, 1, 2, 3] if layout[2] > 1 else [1]
        for rank in run_world(2, distill, layout, stages):
            for found in rank:
                np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-6)


def two_at_once(layout: tuple[int, int, int]) -> tuple[list[float], list[float]]:
    """Loss and norm of a learner that drops out: alone, then beside a companion and a second engine."""
    found = []
    for others in (False, True):
        given = config(DROPPING, layout)
        here = world.start(given.parallel, given.seed)
        learner = engine(given, here)
        second = engine(config(toy.BERT, layout), here) if others else None
        frozen = companion(config(TEACHER, layout), here) if others else None
        seen: list[float] = []
        for step in range(4):
            batches = micro_batches(given, here, step)
            if frozen is not None and second is not None:
                frozen.forward(batches)
                second.forward(micro_batches(config(toy.BERT, layout), here, step))
                second.train_step(micro_batches(config(toy.BERT, layout), here, step), 1e-2)
            seen += learner.train_step(batches, 1e-2)
        found.append(seen)
        leave_groups(layout=False)
    world.stop()
    return found[0], found[1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_companions_and_second_engines_do_not_disturb_the_learner(layout: tuple[int, int, int]) -> None:
    """To the last digit, with dropout: what they draw and send stays their own."""
    for alone, beside in run_world(layout[0] * layout[1] * layout[2], two_at_once, layout):
        assert beside == alone


def sentence_metrics(layout: tuple[int, int, int], smoothing: float) -> list[float]:
    """BERT's loss, norm and metrics in one step."""
    given = config(toy.BERT, layout)
    objective = given.objective.model_copy(update={"label_smoothing": smoothing})
    given = given.model_copy(update={"objective": objective})
    here = world.start(given.parallel, given.seed)
    learner = engine(given, here)
    numbers = learner.train_step(micro_batches(given, here, 0), 1e-2)
    seen = [*numbers, *learner.metrics.values(), float(learner.tokens)]
    world.stop()
    return seen


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_metrics_and_smoothed_losses_are_the_same_on_every_rank(smoothing: float) -> None:
    loss, _, masked, sentence, accuracy, tokens = alone = run_world(
        1, sentence_metrics, (1, 1, 1), smoothing
    )[0]
    assert loss == pytest.approx(masked + sentence, rel=1e-6)
    assert 0 < accuracy < 1
    assert tokens == toy.GLOBAL_BATCH * toy.LENGTH
    for layout in LAYOUTS[1:]:
        for found in run_world(2, sentence_metrics, layout, smoothing):
            np.testing.assert_allclose(found, alone, rtol=1e-5)
