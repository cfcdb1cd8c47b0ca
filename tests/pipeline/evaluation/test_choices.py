"""Multiple choice: how questions are made, which tokens are scored, and what does not fit."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.contract.dataset import Dataset
from pipeline.evaluation.choices import fit, shot_curve
from pipeline.evaluation.prompt_forms import JoinedPrompt
from pipeline.evaluation.questions import (
    Example,
    Question,
    QuestionSet,
    as_chat,
    as_text,
    make_questions,
    wilson,
)
from pipeline.prompting.chat import ChatTemplate
from tests.pipeline import tiny
from tests.pipeline.evaluation.fakes import Bigram, Recalling, bigram_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("work") / "dataset"
    tiny.dataset(
        folder, {"train": tiny.sentences(40), "validation": tiny.sentences(30, 1)}, instructions=True
    )
    return Dataset(folder)


def test_questions_have_one_right_choice_of_distinct_answers(data: Dataset) -> None:
    task = make_questions(data, questions=20, choices=4, shots=3, seed=7)
    assert task.name == "which response"
    assert len(task.questions) == 20
    for question in task.questions:
        assert len(set(question.choices)) == 4
        assert len(question.shots) == 3
    asked = {question.question for question in task.questions}
    assert len(asked) == 20
    assert len({question.right for question in task.questions}) == 4
    assert task == make_questions(data, questions=20, choices=4, shots=3, seed=7)
    assert task != make_questions(data, questions=20, choices=4, shots=3, seed=8)


def test_a_corpus_without_pairs_is_asked_for_continuations(tmp_path: Path) -> None:
    long = [" ".join(tiny.sentences(8, seed)) for seed in range(12)]
    tiny.dataset(tmp_path, {"train": long[:6], "validation": long[6:]})
    data = Dataset(tmp_path)
    task = make_questions(data, questions=50, choices=3, shots=2, seed=7)
    assert task.name == "which continuation"
    assert len(task.questions) == 6
    texts = long[6:]
    for question in task.questions:
        (source,) = [text for text in texts if text.startswith(question.question.strip())]
        rest = source.removeprefix(question.question.strip())
        assert rest.strip().startswith(question.choices[question.right].strip())


def test_too_few_examples_make_no_task(tmp_path: Path) -> None:
    tiny.dataset(tmp_path, {"train": ["a file."], "validation": ["a path."]})
    assert make_questions(Dataset(tmp_path), questions=5, choices=4, shots=1, seed=7).questions == []


def test_the_text_form_scores_the_answer_alone(data: Dataset) -> None:
    template = ChatTemplate(data.vocabulary)
    one = as_text(template, [Example("reads", "a file")], "adds", "two sum")
    vocabulary = data.vocabulary
    first = [vocabulary.eos, *vocabulary.encode("reads\na file"), vocabulary.eos]
    assert [*one.context, *one.answer] == [*first, *vocabulary.encode("adds\ntwo sum")]
    assert vocabulary.decode(one.answer) == "two sum"


def test_the_chat_form_makes_examples_earlier_turns(data: Dataset) -> None:
    template = ChatTemplate(data.vocabulary)
    one = as_chat(template, [Example("reads", "a file")], "adds", "two sum")
    assert one.answer == [*data.vocabulary.encode("two sum"), template.end]
    assert data.vocabulary.decode(one.context) == "reads a file adds" or one.context.count(template.end) == 3


def test_a_model_that_knows_the_answers_gets_them_right_and_a_flat_one_does_not(data: Dataset) -> None:
    questions = [Question("adds", ("two sum", "a file", "the path", "of list"), n % 4, ()) for n in range(40)]
    flat = np.full((data.vocabulary.size, data.vocabulary.size), -1.0)
    knowing = bigram_of(tiny.config(), data.vocabulary, ["adds\nthe path"] * 50)
    task = QuestionSet("t", "about", questions)
    (result,) = shot_curve(knowing, task, [0], as_text)
    assert (result["n"], result["accuracy_per_byte"]) == (40, 0.25)
    right = [Question(q.question, q.choices, 2, ()) for q in questions]
    (result,) = shot_curve(knowing, QuestionSet("t", "about", right), [0], as_text)
    assert result["accuracy_per_byte"] == 1.0
    (result,) = shot_curve(Recalling(knowing, "adds"), QuestionSet("t", "about", right), [0], as_text)
    assert result["accuracy"] == 1.0
    assert result["low"] < 1.0 == result["high"]
    (result,) = shot_curve(Bigram(tiny.config(), data.vocabulary, flat), task, [0], as_text)
    assert 0.0 <= result["accuracy"] <= 0.5


def test_a_choice_that_is_likely_without_the_question_is_not_preferred(data: Dataset) -> None:
    """The bigram finds "the path" likeliest after anything, so per byte it always says that; the question
    raises no choice, so by mutual information all tie and the first is taken."""
    knowing = bigram_of(tiny.config(), data.vocabulary, ["adds\nthe path"] * 50)
    choices = ("two sum", "the path")
    (result,) = shot_curve(knowing, QuestionSet("t", "a", [Question("x", choices, 1, ())]), [0], as_text)
    assert (result["accuracy_per_byte"], result["accuracy"]) == (1.0, 0.0)
    assert Question("Summarize.\n\ndef f()", choices, 0, ()).neutral == "Summarize."
    assert Question("Once upon a time", choices, 0, ()).neutral == ""


def test_examples_that_do_not_fit_are_dropped_from_the_left_and_counted(data: Dataset) -> None:
    template = ChatTemplate(data.vocabulary)
    shots = tuple(Example(f"number {n}", "the sum of two " * 3) for n in range(4))
    question = Question("adds", ("two", "sum"), 0, shots)
    long = fit(template, question, 4, as_text, JoinedPrompt(10_000, 0))
    assert (long.dropped, long.cut) == (0, False)
    size = len(as_text(template, shots[2:], "adds", "two").context) + 1
    short = fit(template, question, 4, as_text, JoinedPrompt(size, 0))
    assert (short.dropped, short.cut) == (2, False)
    assert short.choices[0] == as_text(template, shots[2:], "adds", "two")
    cut = fit(template, question, 4, as_text, JoinedPrompt(1, 0))
    assert (cut.dropped, cut.cut) == (4, True)
    assert all(len(one.context) + len(one.answer) <= 2 and one.context for one in cut.choices)


def test_the_wilson_interval_has_its_published_values() -> None:
    # Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29.
    for right, total, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]:
        assert wilson(right, total) == pytest.approx((low, high), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
