"""The order of samples: every row once an epoch, sets by their shares, batches of similar length."""

import numpy as np
import pytest

from pipeline.finetuning import order
from pipeline.finetuning.splits import hold_out
from pipeline.tasks.rows import Row
from pipeline.tasks.text import shares


def test_each_epoch_has_every_row_once_in_an_order_of_its_own() -> None:
    found = order.epochs(10, 25, [1])
    assert sorted(found[:10]) == sorted(found[10:20]) == list(range(10))
    assert list(found[:10]) != list(found[10:20])
    assert list(order.epochs(10, 15, [1])) == list(found[:15])


def test_batches_by_length_are_the_same_samples() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    plain = order.epochs(1000, 3000, [2])
    found = order.by_length(plain, lengths, 8, 3)
    assert sorted(found) == sorted(plain)
    apart = [np.ptp(lengths[found[start : start + 8]]) for start in range(0, 2992, 8)]
    before = [np.ptp(lengths[plain[start : start + 8]]) for start in range(0, 2992, 8)]
    assert np.mean(apart) < 0.1 * np.mean(before)


def test_shares_of_a_mixture_are_seqios_and_samples_keep_to_them() -> None:
    # rates min(e, K) ** (1 / T): 100, 4000 and 9000 rows at K = 4000 and T = 2 are 10, 63.2 and 63.2
    found = shares(np.array([100.0, 4000.0, 9000.0]), 4000, 2.0)
    assert found == pytest.approx(np.array([10, 4000**0.5, 4000**0.5]) / (10 + 2 * 4000**0.5))
    drawn = order.mixed([100, 400], shares(np.array([100.0, 400.0]), None, 1.0), 20_000, 5)
    assert (drawn < 100).mean() == pytest.approx(0.2, abs=0.01)
    assert len(set(drawn[drawn >= 100][:400])) == 400, "a set is gone through before it begins anew"
    assert (order.mixed([100, 400], np.array([0.2, 0.8]), 20_000, 5) == drawn).all()


def test_rows_that_say_the_same_are_held_out_together() -> None:
    rows = [Row(f"f: line {i}", {"text": str(i % 50), "label": str(i % 2)}) for i in range(200)]
    kept, held = hold_out(rows, 0.2, 0, lambda row: (row.values["text"], row.values["label"]))
    assert sorted([*kept, *held]) == list(range(200))
    assert {i % 50 for i in kept}.isdisjoint({i % 50 for i in held})
    assert len(held) == pytest.approx(40, abs=8)
    assert sum(i % 2 for i in held) == pytest.approx(len(held) / 2, abs=4), "labels keep their shares"
