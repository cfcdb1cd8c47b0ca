"""Scores, intervals and comparisons against their definitions."""

import numpy as np
import pytest
import scipy.stats

from data_prep.contract.settings import InputError
from pipeline.evaluation.intervals import wilson
from pipeline.evaluation.tasks.extraction import NOT_FOUND, extracted, same
from pipeline.evaluation.tasks.figures import compare, mcnemar
from pipeline.evaluation.tasks.overlap import squad_f1
from pipeline.evaluation.tasks.settings import Extract


def test_the_wilson_interval_has_its_published_values() -> None:
    # Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29.
    for right, total, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]:
        assert wilson(right, total) == pytest.approx((low, high), abs=5e-5)


def test_mcnemars_test_is_the_binomial_test_of_what_differs() -> None:
    random = np.random.default_rng(3)
    for count, share in ((5, 0.5), (40, 0.7), (400, 0.55), (30, 0.0)):
        first = random.random(count) < 0.5
        second = np.where(random.random(count) < share, first, ~first)
        found = mcnemar(first.tolist(), second.tolist())
        one, other = int((first & ~second).sum()), int((second & ~first).sum())
        assert (found["only_first"], found["only_second"]) == (one, other)
        expected = scipy.stats.binomtest(one, one + other).pvalue if one + other else 1.0
        assert found["p"] == pytest.approx(expected, rel=1e-9)
    assert mcnemar([True], [True])["p"] == 1.0


def test_runs_are_compared_on_the_questions_of_both() -> None:
    def record(run: str, task: str, number: int, right: bool) -> dict[str, object]:
        return {"run": run, "task": task, "shots": 0, "draw": 0, "number": number, "score": float(right)}

    rows = [record("a", "t", n, n < 8) for n in range(10)] + [record("b", "t", n, n >= 6) for n in range(9)]
    assert compare(rows, "a", "b")["t", 0] == mcnemar([n < 8 for n in range(9)], [n >= 6 for n in range(9)])


@pytest.mark.parametrize(
    ("text", "how", "answer"),
    [
        (" 42 apples", {"pattern": r"-?\d+"}, "42"),
        ("1 and 2", {"pattern": r"\d", "take": "last"}, "2"),
        ("1. The answer is 7. The answer is 9", {"after": "The answer is", "pattern": r"\d"}, "9"),
        ("no number", {"pattern": r"\d"}, NOT_FOUND),
        ("#### 1,000", {"pattern": r"#### ([\d,]+)"}, "1,000"),
        (" a ", {"strip": False}, " a "),
        ("", {}, ""),
    ],
)
def test_answers_are_found_in_texts(text: str, how: dict[str, object], answer: str) -> None:
    assert extracted(text, Extract.model_validate(how)) == answer


def test_what_does_not_count_is_left_out_of_a_comparison() -> None:
    assert same("1,000", ("1000",), Extract(remove=[","]))
    assert same("The End!", ("the end",), Extract(ignore_case=True, ignore_punctuation=True))
    assert not same("The End!", ("the end",), Extract(ignore_case=True))
    with pytest.raises(InputError, match="no regular expression"):
        extracted("x", Extract(pattern="("))


def test_squads_f1() -> None:
    """Literal counts: 2 x common / (words of both), without articles and punctuation."""
    assert squad_f1("The cat sat.", ["a cat sat down", "dog"]) == pytest.approx(2 * 2 / 5)
    assert squad_f1("", [""]) == 1.0
    assert squad_f1("x", [""]) == 0.0


def test_bleu_and_rouge_are_those_of_their_packages() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    from pipeline.evaluation.tasks.overlap import bleu, rouge

    answers, references = (
        ["the cat sat on the mat", "a dog"],
        [["the cat is on the mat", "cats sat"], ["a dog"]],
    )
    columns = [["the cat is on the mat", "a dog"], ["cats sat", "a dog"]]
    assert bleu(answers, references) == pytest.approx(sacrebleu.corpus_bleu(answers, columns).score / 100)
    expected = (
        scorer.RougeScorer(["rougeL"], use_stemmer=True).score("the cats sat", "cat sits")["rougeL"].fmeasure
    )
    assert rouge("cat sits", ["the cats sat"])["rougeL"] == pytest.approx(expected)
