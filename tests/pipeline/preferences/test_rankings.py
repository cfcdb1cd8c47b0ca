"""Comparison files: every form, what is wrong in one sentence, the published dialogues."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from pipeline.preferences.rankings import from_ranks, pair, ranking_of, read_rankings
from pipeline.prompting.chat import Message

DIALOGUE = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Name a list.\n\nAssistant: "
PUBLISHED = Path(__file__).parents[4] / "shared/data/hh_rlhf/harmless-base.test.jsonl.gz"


@pytest.mark.parametrize(
    ("row", "roles", "answers", "beats"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, ["user"], ("b", "c"), [[0, 1], [0, 0]]),
        (
            {"prompt": "a", "chosen": "b", "rejected": "c", "share": 0.25, "id": 1},
            ["user"],
            ("b", "c"),
            [[0, 0.25], [0.75, 0]],
        ),
        (
            {
                "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}],
                "chosen": [{"role": "assistant", "content": "b"}],
                "rejected": "c",
            },
            ["system", "user"],
            ("b", "c"),
            [[0, 1], [0, 0]],
        ),
        (
            {"chosen": DIALOGUE + "[1]", "rejected": DIALOGUE + "No."},
            ["user", "assistant", "user"],
            ("[1]", "No."),
            [[0, 1], [0, 0]],
        ),
        (
            {"prompt": "a", "answers": ["b", "c", "d"], "ranks": [2, 1, 2]},
            ["user"],
            ("b", "c", "d"),
            [[0, 0, 0], [0.5, 0, 0.5], [0, 0, 0]],
        ),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, ["user"], ("b", "b"), [[0, 0], [0, 0]]),
    ],
)
def test_every_form_is_read(row: Any, roles: list[str], answers: tuple[str, ...], beats: Any) -> None:
    found = ranking_of(row, "here")
    assert [message.role for message in found.prompt] == roles
    assert found.answers == answers
    np.testing.assert_array_equal(found.beats, np.array(beats, np.float32))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([1], "this one has a list"),
        ({"prompt": "a", "chosen": "b"}, "this one has prompt, chosen"),
        ({"prompt": "a", "chosen": "b", "rejected": 1}, "rejected"),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "share": 2}, "share is 2; a number from 0 to 1"),
        ({"prompt": "a", "answers": ["b"], "ranks": [1]}, "1 answers; 2 to 64"),
        ({"prompt": "a", "answers": ["b", "c"], "ranks": [1]}, "lists of one length"),
        ({"prompt": "a", "answers": ["b", "c"], "ranks": [1, None]}, "ranks must be numbers"),
        (
            {"prompt": [{"role": "assistant", "content": "x"}], "chosen": "b", "rejected": "c"},
            "ends with the",
        ),
        ({"chosen": "no turns", "rejected": DIALOGUE}, "a dialogue of"),
        ({"chosen": "\n\nHuman: a", "rejected": DIALOGUE}, "the last to speak must be the assistant"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(row: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        ranking_of(row, "pairs.jsonl, line 3")
    assert str(raised.value).startswith("pairs.jsonl, line 3")


def test_pairs_of_a_ranking_weigh_one_together() -> None:
    """1 / C(K, 2) each where there are no ties."""
    beats = from_ranks([3, 1, 4, 2])
    assert beats.sum() == pytest.approx(1)
    assert set(np.unique(beats)) == {np.float32(0), np.float32(1 / 6)}
    assert pair(0.7, ("a", "b")).sum() == pytest.approx(1)


def test_dialogues_that_part_before_their_last_answers_compare_nothing() -> None:
    row = {"chosen": DIALOGUE + "a", "rejected": DIALOGUE.replace("Hello", "Hey") + "b"}
    assert not ranking_of(row, "here").beats.any()


def test_the_published_comparisons_are_read() -> None:
    if not PUBLISHED.is_file():
        pytest.skip(f"{PUBLISHED} is not there")
    found = list(read_rankings(PUBLISHED))
    assert len(found) == 2312
    assert sum(not one.beats.any() for one in found) == 5
    assert found[0].prompt[0] == Message("user", "what are some pranks with a pen i can do?")
