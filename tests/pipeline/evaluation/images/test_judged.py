"""Drawn scenes are judged as what they are, and beside other captions as chance has it."""

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from data_prep.contract.shapes import Noun, Scene, Thing, caption, draw, nouns_of, scene_of
from pipeline.evaluation.images.judged import diversity, judged, scenes, shuffled


def test_true_pictures_are_right_in_everything() -> None:
    drawn = [scene_of(7, "validation", number) for number in range(24)]
    found = scenes(np.stack([draw(scene) for scene in drawn]))
    verdicts = judged(found, [caption(scene) for scene in drawn])
    assert {name: float(hits.mean()) for name, hits in verdicts.items()} == dict.fromkeys(
        ("colour", "shape", "size", "count", "caption"), 1.0
    )


def test_one_thing_that_is_wrong_is_told_apart() -> None:
    scene = Scene((Thing("ring", "red", "large", 12, 14),))
    captions = ["a large red ring", "a large blue ring", "a small red ring", "two large red rings"]
    found = judged([scene] * 4, captions)
    assert found.colour.tolist() == [True, False, True, True]
    assert found.size.tolist() == [True, True, False, True]
    assert found.shape.all()
    assert found.count.tolist() == [True, True, True, False]
    assert found.caption.tolist() == [True, False, False, False]
    assert found[found.colour].size.tolist() == [True, False, True]


def test_what_a_caption_names() -> None:
    assert nouns_of("a large red circle left of a small blue ring") == (
        (Noun("large", "red", "circle"), Noun("small", "blue", "ring")),
        2,
    )
    assert nouns_of("three small green crosses") == ((Noun("small", "green", "cross"),), 3)
    assert nouns_of("a pink horse") == ((), 0)
    with pytest.raises(InputError, match="no caption of shapes"):
        judged([Scene(())], ["a pink horse"])


def test_beside_other_captions_colours_are_right_as_often_as_two_captions_share_them() -> None:
    drawn = [scene_of(7, "validation", number, ("one",)) for number in range(60)]
    captions = [caption(scene) for scene in drawn]
    others = shuffled(drawn, captions, seed=0, times=200)
    colours = [scene.things[0].colour for scene in drawn]
    alike = np.mean([one == other for one in colours for other in colours])
    assert others["colour"] == pytest.approx(alike, abs=0.02)


def test_small_pictures_are_made_larger_and_odd_ones_refused() -> None:
    picture = draw(Scene((Thing("square", "cyan", "large", 16, 16),)))[None]
    small = picture.reshape(1, 16, 2, 16, 2, 3).mean((2, 4)).astype(np.uint8)
    assert scenes(small)[0].things[0].colour == "cyan"
    with pytest.raises(InputError, match="of 24 pixels"):
        scenes(np.zeros((1, 24, 24, 3), np.uint8))


def test_diversity_is_between_pictures_of_one_caption() -> None:
    pictures = np.zeros((4, 2, 2, 3), np.uint8)
    pictures[1], pictures[3] = 51, 255
    assert diversity(pictures, ["a", "a", "b", "c"]) == pytest.approx(0.2)
    assert diversity(pictures[:1], ["a"]) == 0.0
