"""Captioned shapes: what the rules say, the oracle on drawn pictures, and what is held out."""

from itertools import product

import numpy as np
import pytest

from data_prep.contract.shapes import (
    COLOURS,
    COMPOSITION,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    caption,
    draw,
    held_out_pairs,
    is_true,
    read,
    scene_of,
    statements,
)
from data_prep.contract.shapes.scene import RELATIONS
from data_prep.contract.shapes.words import NUMBERS, PLACES

PLURALS = {shape: "crosses" if shape == "cross" else f"{shape}s" for shape in SHAPES}
BESIDE = Scene((Thing("circle", "red", "large", 8, 12), Thing("ring", "orange", "small", 23, 18)))
THREE = Scene(tuple(Thing("cross", "blue", "small", x, y) for x, y in ((7, 7), (23, 8), (8, 24))))
ALONE = Scene((Thing("diamond", "cyan", "small", 20, 15),))


def article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def nouns() -> list[str]:
    sizes, colours = ("", *SIZES), ("", "red", "orange", "blue", "cyan")
    return [" ".join(filter(None, parts)) for parts in product(sizes, colours, SHAPES)]


def every_statement() -> set[str]:
    """The whole grammar over five colours, spelled out anew."""
    found = {article(noun) for noun in nouns()}
    found |= {f"{article(noun)} {place}" for noun in nouns() for place in PLACES.values()}
    found |= {
        f"{number} {noun[: -len(shape)]}{PLURALS[shape]}"
        for number in NUMBERS.values()
        for noun in nouns()
        for shape in [noun.split()[-1]]
    }
    coloured = [noun for noun in nouns() if any(colour in noun.split() for colour in COLOURS)]
    few = [noun for noun in coloured if "small" not in noun or "ring" in noun]
    return found | {
        f"{article(one)} {relation} {article(other)}"
        for one in few
        for relation in RELATIONS
        for other in few
        if {*one.split()} & {*COLOURS} != {*other.split()} & {*COLOURS}
    }


@pytest.mark.parametrize("scene", [BESIDE, THREE, ALONE])
def test_a_statement_is_true_just_where_the_scene_has_it_among_its_own(scene: Scene) -> None:
    own = statements(scene)
    found = {words for words in every_statement() if is_true(words, scene)}
    assert found == own & every_statement()
    assert len(found) >= 8
    assert all(is_true(words, scene) for words in own)


def test_captions_of_the_three_kinds_of_scenes() -> None:
    assert caption(BESIDE) == "a large red circle left of a small orange ring"
    assert caption(THREE) == "three small blue crosses"
    assert caption(ALONE, place=True) == "a small cyan diamond at the right"
    assert "an orange ring right of a red circle" in statements(BESIDE)
    for words in (
        "a red circle right of an orange ring",
        "two small blue crosses",
        "a blue cross at the left",
    ):
        assert not is_true(words, BESIDE if "circle" in words else THREE)
    for words in ("a pink circle", "a circle left of a ring", "crosses", ""):
        assert is_true(words, BESIDE) is None


def test_the_oracle_reads_every_drawn_picture_also_a_larger_and_a_noisy_one() -> None:
    noise = np.random.default_rng(0)
    for number in range(60):
        scene = scene_of(1, "train", number)
        picture = draw(scene)
        assert read(picture).things == tuple(sorted(scene.things))
        noisy = np.clip(picture + noise.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)
        assert read(noisy).things == tuple(sorted(scene.things))
    assert read(picture.repeat(2, 0).repeat(2, 1)).things == tuple(sorted(scene.things))
    assert read(np.full((32, 32, 3), 30, np.uint8)) == Scene(())


def test_held_out_pairs_are_in_one_split_alone_and_each_colour_and_shape_in_all() -> None:
    unseen = held_out_pairs(1)
    assert len(unseen) == len({colour for colour, _ in unseen}) == len({shape for _, shape in unseen}) == 5
    seen = {thing.pair for number in range(600) for thing in scene_of(1, "train", number).things}
    assert not seen & unseen
    assert seen | unseen == {(colour, shape) for colour in COLOURS for shape in SHAPES}
    for number in range(50):
        assert {thing.pair for thing in scene_of(1, COMPOSITION, number).things} & unseen
    assert held_out_pairs(2) != unseen


def test_a_scene_is_a_function_of_its_seed_split_and_number() -> None:
    assert scene_of(3, "train", 7) == scene_of(3, "train", 7)
    scenes = {scene_of(seed, split, 7) for seed in (3, 4) for split in ("train", "validation")}
    assert len(scenes) == 4
    kinds = {len(scene_of(3, "train", number, ["one"]).things) for number in range(40)}
    assert kinds == {1}
