"""Comparisons as batches: what a row holds, what is counted, and the same for any number of ranks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import ASSISTANT, END, USER, Vocabulary
from pipeline.config import PipelineConfig
from pipeline.preferences.comparisons import Comparisons
from tests.pipeline import tiny
from tests.pipeline.preferences import made


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return tiny.vocabulary(tmp_path_factory.mktemp("pieces") / "tokenizer.model")


def config(micro_batch: int = 2, length: int = 64) -> PipelineConfig:
    return tiny.config(
        data={"sequence_length": length},
        train={"global_batch": 4, "micro_batch": micro_batch, "validation_samples": 5},
    )


def source(
    folder: Path,
    vocabulary: Vocabulary,
    rows: list[Any],
    *,
    rank: int = 0,
    size: int = 1,
    **given: Any,
) -> Comparisons:
    path = made.write(folder / "pairs.jsonl", rows)
    return Comparisons(config(**given), vocabulary, [path], [], rank, size)


def test_a_row_is_a_prompt_and_an_answer(tmp_path: Path, vocabulary: Vocabulary) -> None:
    """The model is asked as in a chat, and learns of the answer and its end alone."""
    row = {"prompt": "adds two", "answers": ["the sum", "a file", "a path of"], "ranks": [1, 2, 3]}
    batches = source(tmp_path, vocabulary, [row] * 20)
    [first, _] = batches.step(0)
    assert first["tokens"].shape[0] == 2 * 3
    assert first["tokens"].shape[1] % 16 == 0
    [user, assistant, end] = [vocabulary.id_of(piece) for piece in (USER, ASSISTANT, END)]
    asked = [vocabulary.bos, user, *vocabulary.encode("adds two"), end, assistant]
    answer = [*vocabulary.encode("the sum"), end]
    size = first["lengths"][0]
    assert first["tokens"][0, :size].tolist() == [*asked, *answer]
    np.testing.assert_array_equal(first["targets"][0, : size - 1], first["tokens"][0, 1:size])
    assert first["targets"][0][first["answers"][0] > 0].tolist() == answer
    np.testing.assert_allclose(first["pair_weights"].sum(axis=(1, 2)), 1)


def test_prompts_with_fewer_answers_are_filled_up_with_rows_of_no_weight(
    tmp_path: Path, vocabulary: Vocabulary
) -> None:
    three = {"prompt": "adds", "answers": ["sum", "file", "path"], "ranks": [1, 2, 3]}
    batches = source(tmp_path, vocabulary, [three, *made.pairs(19)])
    for batch in (*batches.step(0), *batches.validation()):
        absent = batch["lengths"] == 0
        weights = batch["pair_weights"]
        assert not np.concatenate([weights.sum(1).ravel()[absent], weights.sum(2).ravel()[absent]]).any()
        assert not batch["answers"][absent].any()


def test_the_global_batch_is_the_same_for_every_number_of_ranks(
    tmp_path: Path, vocabulary: Vocabulary
) -> None:
    rows = made.pairs(30)
    [whole] = source(tmp_path, vocabulary, rows, micro_batch=4).step(7)
    parts = [source(tmp_path, vocabulary, rows, rank=r, size=2).step(7)[0] for r in range(2)]
    for name, array in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), array, err_msg=name)
    counts = [len(list(source(tmp_path, vocabulary, rows, rank=r, size=2).validation())) for r in range(2)]
    assert counts[0] == counts[1]


def test_what_compares_nothing_is_counted(tmp_path: Path, vocabulary: Vocabulary) -> None:
    equal = {"prompt": "a", "chosen": "sum", "rejected": "sum"}
    empty = {"prompt": "a", "chosen": "sum", "rejected": " "}
    long = {"prompt": "file " * 100, "chosen": "sum", "rejected": "path"}
    found = source(tmp_path, vocabulary, [equal, empty, long, *made.pairs(20)]).report(1)[0]
    assert {key: found[key] for key in found if key.startswith("skipped")} == {
        "skipped_equal": 1,
        "skipped_empty": 1,
        "skipped_long": 1,
    }
    assert (found["rows"], found["train"], found["validation"]) == (23, 18, 2)
    with pytest.raises(InputError, match="0 prompts left to train on"):
        source(tmp_path, vocabulary, [equal, long])
