"""All tasks together over the size of models, against means by hand."""

from typing import Any

import pytest

from data_prep.contract.report import Lines
from pipeline.reports.aggregate import aggregate, mean_of, tasks_by_shots

CHANCE = {"one": 0.5, "two": 0.25, "said": None}


def results(**sizes: tuple[int, float]) -> dict[str, Any]:
    """Runs by name: their parameters, and by how much each of their scores is above 0.25."""
    tasks = {name: {"score": "choices", "chance": chance} for name, chance in CHANCE.items()}
    tasks["said"]["score"] = "exact_match"
    tasks["read"] = {"score": "loss", "chance": None}

    def scores(above: float) -> dict[str, list[dict[str, float]]]:
        both = [{"shots": shots, "value": 0.25 + above + 0.1 * shots} for shots in (0, 1)]
        return {"one": both, "two": both, "said": both[:1], "read": [{"shots": 0, "value": 3.2}]}

    return {
        "suites": {"mine": {"tasks": tasks}},
        "runs": {
            name: {"parameters": size, "suites": {"mine": scores(above)}}
            for name, (size, above) in sizes.items()
        },
    }


def test_means_over_tasks_by_size_and_shots() -> None:
    """A run of each of two sizes and two of a third; losses are no part of it."""
    found = results(small=(1000, 0.0), middle=(5000, 0.1), big=(9000, 0.2), again=(9000, 0.4))
    assert tasks_by_shots(found, found["runs"]) == {
        0: [("mine", "one"), ("mine", "two"), ("mine", "said")],
        1: [("mine", "one"), ("mine", "two")],
    }
    _, mean, centred = aggregate("eval", found)
    assert isinstance(mean, Lines)
    assert isinstance(centred, Lines)
    assert [one.label for one in mean.lines] == ["0 examples (3 tasks)", "1 examples (2 tasks)"]
    assert list(mean.lines[0].x) == [1000, 5000, 9000]
    assert list(mean.lines[0].y) == pytest.approx([0.25, 0.35, 0.55])
    assert list(mean.lines[1].y) == pytest.approx([0.35, 0.45, 0.65])
    by_hand = [((a - 0.5) / 0.5 + (a - 0.25) / 0.75 + a) / 3 for a in (0.25, 0.35, 0.55)]
    assert list(centred.lines[0].y) == pytest.approx(by_hand)
    for line in (*mean.lines, *centred.lines):
        assert all(low <= y <= high for low, y, high in zip(line.low, line.y, line.high, strict=True))


def test_one_size_makes_no_line() -> None:
    assert not [*aggregate("eval", results(one=(1000, 0.0), two=(1000, 0.1)))]
    assert not [*aggregate("eval", {"runs": {"old": {"suites": {}}}})]


def test_the_interval_of_a_mean_is_of_its_tasks() -> None:
    found = mean_of([0.0, 1.0] * 50)
    assert found.value == 0.5
    assert (found.low, found.high) == pytest.approx((0.4, 0.6), abs=0.03)
