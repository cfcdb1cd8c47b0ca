"""Question answering by SQuAD's rules: normalisation, windows, spans over windows, the best threshold."""

import numpy as np
import pytest

from pipeline.tasks.answers import (
    Answer,
    AnswersSettings,
    Window,
    best_threshold,
    most_around,
    normalised,
    score_of,
    spans,
    window_starts,
)


@pytest.mark.parametrize(
    ("said", "wanted", "scores"),
    [
        ("The  Eiffel-Tower!", "eiffel tower", (0.0, 0.0)),  # the hyphen goes, and the words with it
        ("the Eiffel Tower.", "Eiffel tower", (1.0, 1.0)),
        ("a big dog", "the dog", (0.0, 2 / 3)),
        ("dog dog", "dog", (0.0, 2 / 3)),
        ("", "dog", (0.0, 0.0)),
    ],
)
def test_scores_of_words(said: str, wanted: str, scores: tuple[float, float]) -> None:
    assert score_of(said, [Answer(wanted, 0)]) == pytest.approx(scores)
    assert score_of(said, [Answer("nothing like it", 0), Answer(wanted, 0)]) == pytest.approx(scores)


def test_no_answer_is_right_where_there_is_none() -> None:
    assert score_of("", []) == (1.0, 1.0)
    assert score_of("anything", []) == (0.0, 0.0)
    assert normalised("An  apple, a day") == "apple day"


def test_every_token_counts_in_the_window_where_most_stands_around_it() -> None:
    for count, room, stride in ((50, 16, 5), (16, 16, 5), (17, 16, 16), (3, 16, 1)):
        starts = window_starts(count, room, stride)
        best = most_around(starts, count, room)
        for token in range(count):
            around = {
                number: min(token - start, min(start + room, count) - 1 - token)
                + 0.01 * min(room, count - start)
                for number, start in enumerate(starts)
                if start <= token < start + room
            }
            assert best[token] == max(around, key=lambda number: around[number])


def test_spans_are_the_best_pairs_of_brute_force() -> None:
    drawn = np.random.default_rng(0)
    settings = AnswersSettings(answer_tokens=3, candidates=5)
    own = tuple(bool(one) for one in drawn.integers(0, 2, 12))
    window = Window(4, tuple((2 * i, 2 * i + 2) for i in range(12)), own)
    scores = drawn.normal(size=(20, 2)).astype(np.float32)
    starts, ends = scores[4:16, 0], scores[4:16, 1]
    firsts = sorted((i for i in range(12) if own[i]), key=lambda i: -starts[i])[:5]
    lasts = sorted(range(12), key=lambda i: -ends[i])[:5]
    wanted = {
        (round(float(starts[i] + ends[j]), 5), 2 * i, 2 * j + 2)
        for i in firsts
        for j in lasts
        if i <= j < i + 3
    }
    assert {(round(score, 5), start, end) for score, start, end in spans(window, scores, settings)} == wanted


def test_the_best_threshold_is_that_of_brute_force() -> None:
    drawn = np.random.default_rng(1)
    answers = [[Answer("dog", 0)] if drawn.random() < 0.6 else [] for _ in range(40)]
    predictions = [
        {"no_answer_margin": float(drawn.normal()), "best_answer": str(drawn.choice(["dog", "cat"]))}
        for _ in range(40)
    ]

    def f1_at(threshold: float) -> float:
        said = ["" if one["no_answer_margin"] > threshold else str(one["best_answer"]) for one in predictions]
        return float(np.mean([score_of(*pair)[1] for pair in zip(said, answers, strict=True)]))

    tried = [float(str(one["no_answer_margin"])) for one in predictions]
    best, threshold = best_threshold(predictions, answers)
    assert best == pytest.approx(max(map(f1_at, [*tried, -100.0])))
    assert f1_at(threshold) == pytest.approx(best)
