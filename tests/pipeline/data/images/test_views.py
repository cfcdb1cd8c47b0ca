"""Crops, flips, erasing and RandAugment: by the published formulas, and by nothing but the numbers that are
given."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from pipeline.config import RandAugmentConfig, ViewConfig
from pipeline.data.images.randaugment import OPERATIONS, rand_augment
from pipeline.data.images.views import Draws, erased, plain_view, resized_crop, training_view

NUMBER = st.floats(0, 1, exclude_max=True)
KEYS = np.arange(400, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8))


@given(st.integers(1, 300), st.integers(1, 300), st.lists(NUMBER, min_size=22, max_size=22))
@settings(max_examples=200, deadline=None)
def test_a_resized_crop_lies_in_the_picture_with_its_share_and_ratio(
    width: int, height: int, numbers: list[float]
) -> None:
    left, upper, right, lower = resized_crop((width, height), (0.08, 1.0), (3 / 4, 4 / 3), numbers)
    assert 0 <= left < right <= width
    assert 0 <= upper < lower <= height
    area = width * height * (0.08 + 0.92 * numbers[0])
    ratio = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * numbers[1])
    across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    if 0 < across <= width and 0 < down <= height:  # the first try fits
        assert (right - left, lower - upper) == (across, down)
        assert left == int(numbers[-2] * (width - across + 1))


def test_a_crop_that_never_fits_is_the_largest_centred_one_of_an_allowed_ratio() -> None:
    assert resized_crop((400, 100), (1.0, 1.0), (3 / 4, 4 / 3), [0.5] * 22) == (133, 0, 266, 100)
    assert resized_crop((100, 400), (1.0, 1.0), (3 / 4, 4 / 3), [0.5] * 22) == (0, 133, 100, 266)


@given(st.integers(8, 64), st.lists(NUMBER, min_size=22, max_size=22))
@settings(max_examples=100, deadline=None)
def test_an_erased_rectangle_lies_in_the_picture(size: int, numbers: list[float]) -> None:
    left, upper, right, lower = erased(size, (0.02, 1 / 3), numbers)
    assert 0 <= left <= right <= size
    assert 0 <= upper <= lower <= size
    assert (right - left) * (lower - upper) <= size * size * (1 / 3) + 2 * size


def views(**changes: object) -> np.ndarray:
    view = ViewConfig.model_validate({"crop": "centre", "flip": 0.0, **changes})
    draws = Draws.of(KEYS, view)
    return np.stack([training_view(PICTURE, view, 32, draws, row) for row in range(len(KEYS))])


def test_half_are_flipped_and_a_quarter_erased() -> None:
    plain = plain_view(PICTURE, ViewConfig(), 32)
    assert plain.shape == (32, 32, 3)
    np.testing.assert_array_equal(views()[7], plain)
    flipped = (views(flip=0.5) == plain[:, ::-1]).all((1, 2, 3))
    assert flipped.mean() == pytest.approx(0.5, abs=0.1)
    changed = (views(erase=0.25) != plain).any((1, 2, 3))
    assert changed.mean() == pytest.approx(0.25, abs=0.08)


def test_a_random_place_in_padding_is_uniform() -> None:
    white = Image.new("RGB", (32, 32), (255, 255, 255))
    view = ViewConfig(crop="random", padding=4, flip=0.0)
    draws = Draws.of(KEYS, view)
    first = [training_view(white, view, 32, draws, row)[16, :, 0].argmax() for row in range(len(KEYS))]
    assert set(first) <= set(range(5))
    assert np.mean(np.array(first) == 0) == pytest.approx(5 / 9, abs=0.1)


def test_every_operation_keeps_the_size_and_is_the_identity_without_strength() -> None:
    for name, operation in OPERATIONS.items():
        for strength in (-1.0, -0.3, 0.9):
            assert operation(PICTURE, strength).size == PICTURE.size
        if name not in ("auto_contrast", "equalize"):
            difference = np.asarray(operation(PICTURE, 0.0), int) - np.asarray(PICTURE, int)
            assert np.abs(difference).max() <= 1, name
    assert len(OPERATIONS) == 14


def test_operations_are_drawn_evenly_and_go_both_ways() -> None:
    names = [*OPERATIONS]
    place = (names.index("shift_x") + 0.5) / len(names)
    one, other = (
        np.asarray(rand_augment(PICTURE, RandAugmentConfig(layers=1, magnitude=10), [place, sign]))
        for sign in (0.0, 0.9)
    )
    assert (one[:, -20:] == 128).all()
    assert (other[:, :20] == 128).all()
    two = RandAugmentConfig(layers=2, magnitude=5)
    twice = rand_augment(PICTURE, two, [place, 0.0, place, 0.9])
    assert np.asarray(twice).shape == np.asarray(PICTURE).shape


def test_what_is_drawn_depends_on_the_key_alone() -> None:
    view = ViewConfig(randaugment=RandAugmentConfig(), erase=0.5)
    one, other = Draws.of(KEYS, view), Draws.of(KEYS[100:200], view)
    for row in (0, 50, 99):
        np.testing.assert_array_equal(
            training_view(PICTURE, view, 24, one, 100 + row), training_view(PICTURE, view, 24, other, row)
        )


@pytest.mark.parametrize("wrong", [{"scale": [1, 0.5]}, {"scale": [0.5, 2]}, {"ratio": [0, 1]}, {"flip": 2}])
def test_bounds_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ViewConfig.model_validate(wrong)
