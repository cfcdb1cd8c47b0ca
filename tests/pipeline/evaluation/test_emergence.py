"""All-or-nothing scores against p^n, and how they are shown beside smooth ones."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data_prep.contract.receipt import Receipt
from data_prep.contract.report import Lines, Table
from pipeline.evaluation import emergence
from pipeline.evaluation.emergence import scores, streaks
from pipeline.reports import plots
from pipeline.stages.emergence import SCORES, Emergence, frontier


def test_of_a_model_that_guesses_evenly_n_in_a_row_are_right_as_often_as_p_to_the_n(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """4,000 answers of p^n .41 and .17: standard errors of .008 and .006, of which four are allowed."""
    random = np.random.default_rng(0)
    monkeypatch.setattr(
        emergence, "predictions", lambda model, batch: (np.full(8000, 0.5), random.random(8000) < 0.8)
    )
    batches = [{"weights": np.ones((100, 80))}] * 4
    found = scores(SimpleNamespace(), batches, [1, 4, 8])  # type: ignore[arg-type]
    assert found.loss == 0.5
    assert [(one.tokens, one.answers) for one in found.exact] == [(1, 32_000), (4, 8_000), (8, 4_000)]
    for one, tolerance in zip(found.exact, (0.01, 0.03, 0.03), strict=True):
        assert one.share == pytest.approx(0.8**one.tokens, abs=tolerance)
        assert one.interval[0] < one.share < one.interval[1]


def test_answers_do_not_reach_over_rows() -> None:
    correct = np.ones(10, dtype=bool)
    assert streaks(correct, np.repeat([0, 1], 5), 2) == (4, 4)
    assert streaks(correct, np.repeat([0, 1], 5), 6) == (0, 0)


def score(name: str, flops: float, loss: float) -> dict[str, Any]:
    share = np.exp(-loss)
    exact = [
        {"tokens": n, "right": round(1000 * share**n), "answers": 1000, "share": share**n} for n in (1, 2, 4)
    ]
    return {"run": name, "parameters": 1000, "flops": flops, "loss": loss, "exact": exact}


def test_both_scores_stand_side_by_side(tmp_path: Path) -> None:
    found = [score("a", 1e10, 2.0), score("b", 2e10, 1.5), score("c", 2e10, 1.7), score("d", 9e10, 0.5)]
    assert [one["run"] for one in frontier(found)] == ["a", "b", "d"]
    (tmp_path / SCORES).write_text(json.dumps(found))
    (section,) = Emergence().report(tmp_path, Receipt.model_construct()).sections
    exact, smooth = (part for part in section.parts if isinstance(part, Lines))
    assert [line.label for line in exact.lines] == ["1 token", "2 in a row", "4 in a row"]
    assert smooth.lines[0].y == [-2.0, -1.5, -0.5]
    steps = np.diff(exact.lines[2].y)
    assert steps[1] > 10 * steps[0], "what grows evenly in ln p leaps where four have to be right"
    (table,) = (part for part in section.parts if isinstance(part, Table))
    assert len(table.rows) == 4
    assert plots.png(plots.lines(exact)).startswith(b"\x89PNG")
