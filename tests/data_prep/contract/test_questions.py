"""Questions about pictures: what comes from outside, what drawn scenes are asked, what a dataset has."""

from collections import Counter
from pathlib import Path

import pytest

from data_prep.contract.pictures import ImageDataset
from data_prep.contract.questions import Question, parsed, questions_in, written
from data_prep.contract.settings import InputError
from data_prep.contract.shapes import (
    COLOURS,
    COMPOSITION,
    SHAPES,
    Scene,
    Thing,
    asked,
    held_out_pairs,
    is_true,
    scene_of,
)
from data_prep.contract.shapes.questions import YES_OR_NO
from tests.pictures import questions_of, write_pictures

ALONE = Scene((Thing("ring", "cyan", "large", 9, 20),))
BESIDE = Scene((Thing("circle", "red", "large", 8, 12), Thing("ring", "orange", "small", 23, 15)))


def test_what_comes_from_outside() -> None:
    assert questions_in([["what?", "red"], {"question": "is it?", "answer": "no", "about": "x"}]) == (
        Question("what?", "red"),
        Question("is it?", "no", "x"),
    )
    assert questions_in([["a"], 3, {"question": "?"}, {"question": 1, "answer": "b"}, ["", "b"]]) == ()
    assert questions_in({"question": "what?"}) == ()
    one = (Question("wo?", "größer", "", "so"),)
    assert parsed(written(one).encode(), "here") == one
    with pytest.raises(InputError, match="here"):
        parsed(b"[", "here")


def test_a_scene_is_asked_what_it_shows() -> None:
    about = {one.about: one for one in asked(ALONE, 1, "train", 0)}
    assert [about[name].answer for name in ("colour", "shape", "size", "place", "count")] == [
        "cyan",
        "ring",
        "large",
        "in the lower left",
        "one",
    ]
    assert about["place"].rationale == "there is a large cyan ring in the lower left."
    two = {one.question: one.answer for one in asked(BESIDE, 1, "train", 0)}
    assert two["what colour is the circle?"] == "red"
    assert two["what shape is the orange one?"] == "ring"
    assert two["where is the red one, seen from the orange one?"] == "left of it"


def test_yes_and_no_are_true_and_in_balance() -> None:
    counts = Counter[str]()
    unseen = held_out_pairs(3)
    for split in ("train", COMPOSITION):
        for number in range(600):
            scene = scene_of(3, split, number)
            [last] = [one for one in asked(scene, 3, split, number) if one.about == YES_OR_NO]
            statement = last.question.removeprefix("is there ").removesuffix("?")
            assert is_true(statement, scene) == (last.answer == "yes"), last
            counts[last.answer] += 1
            if split == "train":
                pairs = {(one, other) for one in COLOURS for other in SHAPES if f"{one} {other}" in statement}
                assert not pairs & unseen
    assert abs(counts["yes"] - counts["no"]) < 4 * 1200**0.5


def test_a_dataset_gives_them_back_and_knows_damage(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path, train=5, validation=2, questions=True)
    dataset = ImageDataset(folder)
    assert dataset.has("questions")
    for number in range(5):
        assert dataset.questions("train", number) == tuple(questions_of(1, "train", number))
        dataset.sample("train", number)
    plain = ImageDataset(write_pictures(tmp_path / "plain", train=2, validation=2))
    assert plain.questions("train", 0) == ()
    row = dataset.rows("train")[0]
    shard = folder / dataset.split("train").shards[0].path
    content = bytearray(shard.read_bytes())
    content[int(row["questions_offset"]) + 3] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match="is corrupt"):
        ImageDataset(folder).sample("train", 0)
