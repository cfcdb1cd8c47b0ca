"""Learning rates at literal steps and beside transformers' schedules; global batches that grow."""

from typing import Any

import pytest
import torch
from transformers import optimization

from data_prep.contract.settings import InputError
from pipeline.config import OptimizerConfig, RampUp
from pipeline.training.lr_schedule import learning_rate

CONFIG = OptimizerConfig(steps=101, warmup_steps=20, learning_rate=1.0, minimum_learning_rate=0.1)
STEPS, WARMUP, DECAY = 41, 5, 8


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.05), (9, 0.5), (19, 1.0), (20, 1.0), (60, 0.55), (100, 0.1)]
)
def test_warmup_then_cosine(step: int, expected: float) -> None:
    assert learning_rate(step, CONFIG) == pytest.approx(expected)


def test_no_warmup_starts_at_the_peak() -> None:
    assert learning_rate(0, OptimizerConfig(warmup_steps=0, learning_rate=0.5)) == 0.5


def theirs(name: str, **options: Any) -> list[float]:
    """What transformers' schedule of this name has for counts 0, 1, ... of steps, with a peak of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = getattr(optimization, name)(optimizer, num_warmup_steps=WARMUP, **options)
    rates = []
    for _ in range(STEPS + 1):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return rates


def ours(schedule: str, **options: Any) -> list[float]:
    """Our rates of all steps, with a peak of 1."""
    given = {"steps": STEPS, "warmup_steps": WARMUP, "learning_rate": 1.0, "minimum_learning_rate": 0.0}
    config = OptimizerConfig(schedule=schedule, **given | options)
    return [learning_rate(step, config) for step in range(STEPS)]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "wsd"])
def test_equals_transformers(schedule: str) -> None:
    """Ours warms up to step n's rate where theirs has it at step n + 1; both decay from the warm-up on."""
    options: dict[str, Any] = {"num_training_steps": STEPS - 1}
    name = f"get_{schedule}_schedule_with_warmup"
    if schedule == "wsd":
        name, options = (
            "get_wsd_schedule",
            {
                "num_decay_steps": DECAY,
                "num_stable_steps": STEPS - 1 - WARMUP - DECAY,
                "decay_type": "linear",
            },
        )
    elif schedule == "constant":
        options = {}
    expected, found = theirs(name, **options), ours(schedule, decay_steps=DECAY)
    assert found[:WARMUP] == pytest.approx(expected[1 : WARMUP + 1])
    assert found[WARMUP:] == pytest.approx(expected[WARMUP:STEPS])


def test_inverse_square_root_equals_transformers() -> None:
    """Vaswani et al.: n^-1/2 of the step counted from 1, which is where theirs has its step n."""
    assert ours("inverse_sqrt") == pytest.approx(theirs("get_inverse_sqrt_schedule")[1 : STEPS + 1])


def test_t5_s_pretraining_is_constant_and_then_falls() -> None:
    """1 / sqrt(max(n, k)) of a peak of 1 / sqrt(k) (Raffel et al. 2020, section 3.1.2)."""
    rates = ours("inverse_sqrt", warmup_steps=0, decay_from=10)
    assert rates == pytest.approx([(10 / max(step + 1, 10)) ** 0.5 for step in range(STEPS)])


def test_published_constants_stand_in_for_keys_left_out() -> None:
    lamb = OptimizerConfig(optimizer="lamb", weight_decay=0.3)
    assert (lamb.beta2, lamb.epsilon, lamb.weight_decay) == (0.999, 1e-6, 0.3)
    assert (OptimizerConfig(optimizer="adafactor").clip_gradient_norm, OptimizerConfig().beta2) == (0.0, 0.95)


def test_the_fingerprint_of_old_settings_stays() -> None:
    old = OptimizerConfig().identity()
    assert not {"optimizer", "schedule", "ramp_up"} & old.keys()
    assert OptimizerConfig(schedule="linear").identity() == old | {"schedule": "linear"}


@pytest.mark.parametrize(("start", "steps", "whole"), [(4, 6, 16), (2, 7, 20), (8, 3, 8), (2, 3, 40)])
def test_the_global_batch_grows_to_the_whole(start: int, steps: int, whole: int) -> None:
    config = OptimizerConfig(global_batch=whole, micro_batch=1, ramp_up=RampUp(start=start, steps=steps))
    sizes = [config.batch_at(step) for step in range(steps + 5)]
    assert sizes[0] == start
    assert sizes == sorted(sizes)
    assert sizes[steps:] == [whole] * 5
    assert all(size % start == 0 for size in sizes)
    assert start == whole or sizes[steps - 1] < whole
    assert [config.samples_before(n) for n in range(len(sizes))] == [
        sum(sizes[:n]) for n in range(len(sizes))
    ]


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    config = OptimizerConfig(global_batch=16, micro_batch=4, ramp_up=RampUp(start=4, steps=3))
    assert [config.accumulation(1, step) for step in (0, 3)] == [1, 4]
    with pytest.raises(InputError, match=r"ramp_up\.start 4 is not divisible"):
        config.accumulation(2)
    with pytest.raises(ValueError, match=r"not divisible by ramp_up\.start 6"):
        OptimizerConfig(global_batch=16, ramp_up=RampUp(start=6, steps=3))
