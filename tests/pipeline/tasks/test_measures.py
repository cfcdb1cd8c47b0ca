"""Measures are what their libraries give, for all rows and for rows drawn again."""

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from scipy.stats import pearsonr
from seqeval.metrics import f1_score as seqeval_f1
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from pipeline.finetuning.intervals import better, figures
from pipeline.tasks import measures
from pipeline.tasks.measures import Measure, confusions
from pipeline.tasks.tagging import entity_counts
from pipeline.tasks.text_measures import MEASURES

DRAWN = np.random.default_rng(0)
WANTED, FOUND = DRAWN.integers(0, 3, 60), DRAWN.integers(0, 3, 60)
ROWS = DRAWN.integers(0, 60, 60)
"""Rows drawn again."""


def on(measure: Measure, rows: np.ndarray) -> float:
    """A measure of some rows, each as often as it is named."""
    return float(measure.combine(np.bincount(rows, minlength=len(measure.sums)) @ measure.sums))


def test_measures_of_classes_are_those_of_scikit_learn() -> None:
    table = confusions(WANTED, FOUND, 3)
    for rows in (np.arange(60), ROWS):
        wanted, found = WANTED[rows], FOUND[rows]
        pairs = {
            measures.accuracy: accuracy_score(wanted, found),
            measures.macro_f1: f1_score(wanted, found, average="macro"),
            measures.matthews: matthews_corrcoef(wanted, found),
            lambda sums: measures.f1(sums, 1): f1_score(wanted, found, average=None)[1],
        }
        for combine, expected in pairs.items():
            assert on(Measure("", table, combine), rows) == pytest.approx(expected, abs=1e-12)


def test_correlation_is_that_of_scipy() -> None:
    x, y = DRAWN.normal(size=60) + 1e4, DRAWN.normal(size=60)
    one = Measure("", measures.moments(x, y), measures.pearson)
    assert on(one, np.arange(60)) == pytest.approx(pearsonr(x, y).statistic, abs=1e-9)
    assert on(one, ROWS) == pytest.approx(pearsonr(x[ROWS], y[ROWS]).statistic, abs=1e-9)
    assert Measure("", measures.moments(x, np.ones(60)), measures.pearson).value == 0.0


def test_entities_are_those_of_seqeval() -> None:
    tags = ["O", "B-A", "I-A", "B-C", "I-C"]
    pairs = [(list(DRAWN.choice(tags, n)), list(DRAWN.choice(tags, n))) for n in DRAWN.integers(1, 12, 60)]
    one = Measure("", entity_counts(pairs), measures.entity_f1)
    for rows in (np.arange(60), ROWS):
        wanted, found = ([pairs[i][side] for i in rows] for side in (0, 1))
        assert on(one, rows) == pytest.approx(seqeval_f1(wanted, found), abs=1e-12)


def test_bleu_and_rouge_are_those_of_their_packages() -> None:
    words = ["the", "cat", "sat", "on", "a", "mat", "today."]
    pairs = [(" ".join(DRAWN.choice(words, 9)), " ".join(DRAWN.choice(words, 9))) for _ in range(30)]
    rows = DRAWN.integers(0, 30, 30)
    (bleu,) = MEASURES["bleu"].of(pairs)
    expected = BLEU().corpus_score([pairs[i][1] for i in rows], [[pairs[i][0] for i in rows]]).score
    assert 100 * on(bleu, rows) == pytest.approx(expected, abs=1e-9)
    scorer = RougeScorer(["rouge1"], use_stemmer=True)
    rouge = MEASURES["rouge"].of(pairs)[0]
    assert rouge.value == pytest.approx(np.mean([scorer.score(*pair)["rouge1"].fmeasure for pair in pairs]))


def test_intervals_hold_the_figure_and_tell_models_apart() -> None:
    right = np.array([True] * 70 + [False] * 30)
    ours, theirs = measures.mean("accuracy", right), measures.mean("accuracy", [False] * 100)
    one = figures([ours], 0)["accuracy"]
    assert one["low"] < one["value"] == 0.7 < one["high"]
    # The normal approximation of a share: 0.7 +- 1.96 sqrt(0.7 x 0.3 / 100) is 0.610 to 0.790.
    assert (one["low"], one["high"]) == pytest.approx((0.61, 0.79), abs=0.02)
    assert better([ours], [theirs], 0)["accuracy"]["low"] > 0.5
    assert better([ours], [ours], 0)["accuracy"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_the_calibration_error_is_the_mean_distance_of_bins() -> None:
    found = measures.calibration([0.95, 0.95, 0.55, 0.55], [True, True, True, False])
    assert found["expected_error"] == pytest.approx(0.5 * 0.05 + 0.5 * 0.05)
    assert [one["rows"] for one in found["bins"]] == [2, 2]
