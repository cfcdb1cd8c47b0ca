"""Task files: what their rows become, and what is wrong with one."""

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from data_prep.contract.settings import InputError
from pipeline.evaluation.tasks.prompts import before
from pipeline.evaluation.tasks.suites import identity_of, load, read_suite
from tests.pipeline.evaluation.tasks.files import CHOICES, ROWS, write_foreign, write_task


def test_rows_become_questions(tmp_path: Path) -> None:
    task = load(write_task(tmp_path, ROWS, question="{{ question | upper }}:"))
    first, second, third = task.questions
    assert (first.contexts, first.choices, first.right) == (("ADDS THE:",), ("number", "path"), (0,))
    assert (second.references, second.chance) == (("file",), 0.5)
    assert third.right == (0,)
    assert task.chance == pytest.approx((1 / 2 + 1 / 2 + 1 / 3) / 3)


def test_parquet_rows_are_those_of_json_lines(tmp_path: Path) -> None:
    columns = ("question", "choices", "answer")
    rows = [{name: row[name] for name in columns} | {"answer": 0} for row in ROWS]
    lines = load(write_task(tmp_path / "lines", rows))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "toy.parquet")
    assert load(write_task(tmp_path, [], rows="toy.parquet")).questions == lines.questions


def test_contexts_may_be_what_there_is_to_choose_from(tmp_path: Path) -> None:
    rows = [{"options": ["the cat", "the dog"], "rest": "barks.", "gold": 1}]
    keys = {"contexts": "options", "continuation": "rest", "answer": "gold"}
    (question,) = load(write_task(tmp_path, rows, question=None, choices=None, **keys)).questions
    assert (question.contexts, question.right, question.references) == (
        ("the cat", "the dog"),
        (1,),
        ("barks.",),
    )
    assert question.context == "the dog"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"choices": ["a", "b"], "answer": 0}, "missing column"),
        ({"question": "x", "choices": ["a", "b"], "answer": 2}, "no right answer among the choices"),
        ({"question": "x", "choices": ["a", "b"], "answer": "c"}, "no right answer among the choices"),
        ({"question": "x", "choices": ["a", "b"], "answer": None}, "no right answer among the choices"),
        ({"question": "x", "choices": ["a", " "], "answer": 0}, "an empty choice"),
        ({"question": "x", "choices": ["a", "a"], "answer": 0}, "two choices that are the same"),
        ({"question": "x", "choices": ["a"], "answer": 0}, "fewer than two choices"),
        (ROWS[0], "asked before"),
    ],
)
def test_rows_that_are_no_questions_are_counted(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    task = load(write_task(tmp_path, [*ROWS, row]))
    assert len(task.questions) == 3
    ((told, count),) = task.broken.items()
    assert (told.startswith(reason), count) == (True, 1)


ENDLESS = "{% for one in range(9999) %}{% for two in range(9999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("keys", "rows", "message"),
    [
        ({"question": "{{ nothing }}"}, ROWS, "no row of 3 can be asked; 3 of them: missing column"),
        ({"question": "{{ question"}, ROWS, "is not Jinja"),
        ({"choices": "question"}, ROWS, "gives no list of texts"),
        ({"score": "taste"}, ROWS, "score: Input should be"),
        ({"colour": "red"}, ROWS, "colour: Extra inputs are not permitted"),
        ({"choices": None}, ROWS, "score choices needs choices"),
        ({"few_shot": {"shots": [3]}}, ROWS, "few_shot.shots 3 is more than the 2 examples"),
        ({"rows": "none.jsonl"}, ROWS, "none.jsonl: no such file"),
        ({"extract": {"pattern": "("}}, ROWS, "is no regular expression"),
        ({"question": "{{ ().__class__.__bases__ }}"}, ROWS, "unsafe|undefined|missing"),
        ({"question": ENDLESS}, ROWS, "more than 1,000,000 steps"),
        ({}, [], "it has no rows"),
        ({}, [[1]], "row 1 is no mapping"),
    ],
)
def test_what_is_wrong_with_a_task_is_one_sentence(
    tmp_path: Path, keys: dict[str, Any], rows: list[Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        load(write_task(tmp_path, rows, **keys))
    assert "\n" not in str(error.value)


def test_examples_are_drawn_by_seed_draw_and_question(tmp_path: Path) -> None:
    rows = [{"question": f"q{n}", "choices": [f"a{n}", "b"], "answer": 0} for n in range(12)]
    task = load(write_task(tmp_path, rows, few_shot={"shots": [0, 1, 4], "draws": 3}))
    sittings = task.sittings(7)
    assert [(one.shots, one.draw) for one in sittings] == [
        (0, 0),
        *((s, d) for s in (1, 4) for d in range(3)),
    ]
    drawn = {(one.shots, one.draw): one.examples(task.questions[5]) for one in sittings}
    assert all(len(found) == shots for (shots, _), found in drawn.items())
    assert all(one.number != 5 for found in drawn.values() for one in found)
    assert drawn[4, 1][:1] == drawn[1, 1]
    assert len({tuple(one.number for one in drawn[4, draw]) for draw in range(3)}) == 3
    again = {(one.shots, one.draw): one.examples(task.questions[5]) for one in task.sittings(7)}
    assert again == drawn
    assert before(task.task, drawn[1, 0]) == f"{drawn[1, 0][0].context} {drawn[1, 0][0].references[0]}\n\n"


def test_examples_of_a_file_of_their_own(tmp_path: Path) -> None:
    write_task(
        tmp_path / "shown", [{"question": f"e{n}", "choices": ["x", "y"], "answer": 0} for n in range(4)]
    )
    keys = {"rows": "../shown/toy.jsonl", "shots": [2], "take": "first"}
    task = load(write_task(tmp_path / "task", ROWS, few_shot=keys))
    (sitting,) = task.sittings(1)
    assert [one.context for one in sitting.examples(task.questions[0])] == ["e0", "e1"]


def test_a_folder_is_a_suite_whose_identity_is_that_of_its_files(tmp_path: Path) -> None:
    write_task(tmp_path, ROWS, "one")
    path = write_task(tmp_path, ROWS, "two")
    suite = read_suite(tmp_path)
    assert [one.task.task for one in suite.tasks] == ["one", "two"]
    assert identity_of(tmp_path) == [one.identity for one in suite.tasks]
    path.with_suffix(".jsonl").write_text('{"question": "x", "choices": ["a", "b"], "answer": 1}\n')
    assert identity_of(tmp_path) != [one.identity for one in suite.tasks]
    write_task(tmp_path, ROWS, "three", task="one")
    with pytest.raises(InputError, match="two of its tasks are called one"):
        read_suite(tmp_path)


def test_files_of_the_harness_are_read_as_they_are(tmp_path: Path) -> None:
    rows = [{"q": "2 + 2", "options": {"text": ["3", "4"]}, "gold": "B"}]
    keys = {
        "output_type": "multiple_choice",
        "doc_to_text": "Q: {{q}}\nA:",
        "doc_to_choice": "{{options.text}}",
        "doc_to_target": "{{['A', 'B'].index(gold)}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean"}, {"metric": "acc_norm"}],
        "metadata": {"version": 1.0},
        "tag": ["x"],
    }
    task = load(write_foreign(tmp_path, rows, **keys))
    (question,) = task.questions
    assert (question.context, question.choices, question.right) == ("Q: 2 + 2\nA:", ("3", "4"), (1,))
    assert (task.task.normalise, task.task.delimiter) == ("sum", " ")


def test_a_generated_answer_of_the_harness(tmp_path: Path) -> None:
    rows = [{"q": "2 + 2", "a": "4"}] * 2
    keys = {
        "doc_to_text": "q",
        "doc_to_target": "{{a}}",
        "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 9, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "ignore_case": True, "regexes_to_ignore": [","]}],
        "filter_list": [
            {"name": "n", "filter": [{"function": "regex", "regex_pattern": r"(\d+)", "group_select": -1}]}
        ],
    }
    found = load(write_foreign(tmp_path, rows, **keys)).task
    assert (found.score, found.generate.max_tokens, found.generate.stop) == ("exact_match", 9, ["\n\n"])
    assert (found.extract.take, found.extract.remove, found.extract.strip) == ("last", [","], False)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"dataset_path": "allenai/ai2_arc"}, "its rows are not at hand"),
        ({"process_results": "x"}, "process_results of lm-evaluation-harness has no like here"),
        ({"metric_list": [{"metric": "chrf"}]}, "none of its metrics has its like"),
        ({"fewshot_config": {"sampler": "balanced"}}, "fewshot_config.sampler balanced has no like"),
        ({"filter_list": [{"filter": [{"function": "map"}]}]}, "the filter map has no like"),
    ],
)
def test_what_the_harness_alone_can_do_is_named(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(
            write_foreign(
                tmp_path, [{"q": "x", "a": "y"}], **{"doc_to_text": "q", "doc_to_target": "a"} | keys
            )
        )


def test_python_code_in_a_task_file_is_refused(tmp_path: Path) -> None:
    path = write_foreign(tmp_path, [{"q": "x", "a": "y"}], doc_to_text="q")
    path.write_text(path.read_text() + "process_docs: !function utils.process\n")
    with pytest.raises(InputError, match="names Python code"):
        load(path)
    assert CHOICES["score"] == "choices"
