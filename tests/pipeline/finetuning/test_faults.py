"""What is wrong with rows is one sentence that says where, before anything is trained."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from data_prep.contract.settings import InputError
from launch.cli import app
from pipeline.finetuning.prepared import Prepared, prepare
from tests.pipeline import tiny
from tests.pipeline.finetuning import made

GOOD = made.rows("classification", 12)


def prepared(
    folder: Path, kind: str, train: list[dict[str, Any]], validation: Any = (), **task: Any
) -> Prepared:
    """What a stage would read."""
    files: list[list[tuple[str, Path]]] = [[("a", made.write(folder / "train.jsonl", train))], [], []]
    if validation:
        files[1].append(("b", made.write(folder / "validation.jsonl", validation)))
    own = made.settings({"kind": kind} | task).task
    read = (files[0], files[1], files[2])
    return prepare(own, read, 0.2, 0, made.config("encoder"), tiny.vocabulary(folder / "t.model"))


FAULTS: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]], dict[str, Any], str]] = [
    (
        "classification",
        [*GOOD, {"text": "a"}],
        [],
        {},
        "train.jsonl: line 13: no column 'label'; there is text",
    ),
    ("classification", [*GOOD, {"text": "a", "label": ""}], [], {}, "line 13: label is empty"),
    ("classification", [*GOOD, {"text": "a", "label": None}], [], {}, "line 13: label is empty"),
    ("classification", [*GOOD, {"text": " ", "label": "long"}], [], {}, "line 13: text is empty"),
    ("classification", GOOD, [{"text": "a", "label": "new"}], {}, "the label 'new' is in no training row"),
    ("classification", [{"text": "a", "label": "x"}], [], {}, "one label alone, 'x'"),
    ("classification", GOOD, [], {"text": "sentence"}, "no column 'sentence'; there is text, label"),
    ("classification", GOOD, [], {"class_weights": {"wide": 2.0}}, "no label is called 'wide'"),
    ("classification", GOOD, [], {"long_texts": "refuse"}, ""),
    (
        "classification",
        [*GOOD, {"text": "the " * 40, "label": "long"}],
        [],
        {"long_texts": "refuse"},
        "line 13: more tokens than data.sequence_length 32 has room for",
    ),
    (
        "regression",
        [{"text": "a", "score": 1}, {"text": "b", "score": "NaN"}],
        [],
        {},
        "line 2: score is 'NaN'; a finite number is expected",
    ),
    ("regression", [{"text": "a", "score": 1}] * 2, [], {}, "score is 1 in every row"),
    ("tagging", [{"words": ["a", "b"], "tags": ["O"]}], [], {}, "line 1: 2 words and 1 tags"),
    (
        "question_answering",
        [{"question": "a", "context": "b", "answers": [{"text": "b", "answer_start": 9}]}],
        [],
        {"question_tokens": 4},
        "line 1: the answer 'b' begins at character 9 of a text of 1",
    ),
    (
        "question_answering",
        [{"question": "a", "context": "b", "answers": [{"text": "b", "answer_start": 0}]}],
        [{"question": "a", "context": "b", "answers": []}],
        {"question_tokens": 4},
        "a question without an answer, and no training row has one",
    ),
    (
        "multiple_choice",
        [{"text": "a", "choices": ["b", "c"], "answer": 2}],
        [],
        {},
        "the number of a choice, 0 to 1, is expected",
    ),
    ("text_to_text", made.rows("text_to_text", 4), [], {}, "is for model.architecture encoder_decoder"),
]


@pytest.mark.parametrize(("kind", "train", "validation", "task", "said"), FAULTS)
def test_a_fault_is_one_sentence(
    tmp_path: Path,
    kind: str,
    train: list[dict[str, Any]],
    validation: list[dict[str, Any]],
    task: dict[str, Any],
    said: str,
) -> None:
    if not said:
        assert prepared(tmp_path, kind, train, validation, **task).train.rows
        return
    with pytest.raises(InputError) as error:
        prepared(tmp_path, kind, train, validation, **task)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_says_it_with_status_2(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "stages: {mood: {kind: finetune, from: /nowhere/run, data: [a.tsv], task: {kind: sorting}}}\n"
    )
    done = CliRunner().invoke(app, ["finetune", str(recipe), "--work", str(tmp_path / "work")])
    assert done.exit_code == 2
    assert "sorting" in done.stderr
    assert done.stderr.count("\n") == 1
