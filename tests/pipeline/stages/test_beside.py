"""Runs beside others with the same seeds: the interval is scipy's, and pairs that are none are refused."""

from dataclasses import replace

import pytest
from scipy.stats import ttest_rel

from data_prep.contract.settings import InputError
from pipeline.scaling.measured import Measured, Point
from pipeline.stages.beside import check_pairs, difference, sentence

RUN = Measured("a", "2x8", 10, 5, 3, 4, 0.1, 1, [Point(1, 2.0, 3.0)], True, 1.0, 0.0)


@pytest.mark.parametrize("count", range(2, 11))
def test_the_interval_is_that_of_the_paired_t_test(count: int) -> None:
    first, second = [3.0 + 0.1 * i * i for i in range(count)], [3.2 + 0.11 * i for i in range(count)]
    found = difference(list(zip(first, second, strict=True)))
    wanted = ttest_rel(first, second).confidence_interval(0.95)
    width = wanted.high - wanted.low  # the table has four digits
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=2e-4 * width)


def test_pairs_have_the_same_seeds_steps_and_batches() -> None:
    runs = [RUN, replace(RUN, seed=2)]
    check_pairs(runs, runs, "gain")
    with pytest.raises(InputError, match=r"stages.gain: of and beside have 1 and 2 runs"):
        check_pairs(runs[:1], runs, "gain")
    with pytest.raises(InputError, match=r"a and a differ in seed \(1 and 2\)"):
        check_pairs(runs, runs[::-1], "gain")
    with pytest.raises(InputError, match="differ in steps"):
        check_pairs([replace(RUN, steps=9), runs[1]], runs, "gain")


def test_an_interval_with_zero_is_no_difference() -> None:
    found = {"difference": {"mean": -0.1, "low": -0.2, "high": 0.1}, "flops": 1.0, "runs": [{}] * 4}
    assert sentence(found).startswith("No difference in loss shows at this size: -0.1000 nats")
    found["difference"]["high"] = -0.05
    assert sentence(found).startswith("The first runs have the lower loss")
