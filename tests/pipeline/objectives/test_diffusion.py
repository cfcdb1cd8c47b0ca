"""Batches and the loss of diffusion, beside literal formulas."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from data_prep.contract.dataset import TOKENIZER
from pipeline.config import ObjectiveConfig, PipelineConfig, VisionConfig
from pipeline.config.diffusion import DiffusionConfig
from pipeline.costs.vision import parameters
from pipeline.objectives.draws import combine
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.diffusion import (
    Diffusion,
    colours_of,
    larger,
    noised_pictures,
    smaller,
)
from pipeline.objectives.vision.noise import remaining
from tests.pipeline.tiny import vocabulary
from tests.pipeline.vision import denoisers


def samples(count: int = 6, train: bool = True) -> ImageSamples:
    """Pictures of noise with captions."""
    rng = np.random.default_rng(0)
    return ImageSamples(
        pixels=rng.integers(0, 256, (count, 8, 8, 3), np.uint8),
        labels=rng.integers(0, 7, count),
        captions=("the list",) * count,
        keys=combine(3, np.arange(count)),
        ids=np.arange(count, dtype=np.uint64),
        real=np.arange(count) != 1,
        train=train,
    )


@pytest.mark.parametrize("predicts", ["noise", "sample", "velocity"])
def test_a_batch_is_a_picture_and_noise_that_its_time_weighs(predicts: str) -> None:
    settings = DiffusionConfig(predicts=predicts, steps=50)  # type: ignore[arg-type]
    given = samples(400)
    batch = noised_pictures(given, settings, None, 8)
    left = remaining(settings)[batch["times"]].reshape(-1, 1, 1, 1)
    noise = (batch["noised"] - np.sqrt(left) * colours_of(given.pixels)) / np.sqrt(1 - left)
    assert noise.mean() == pytest.approx(0, abs=0.02)
    assert noise.var() == pytest.approx(1, abs=0.02)
    x = colours_of(given.pixels)
    velocity = np.sqrt(left) * noise - np.sqrt(1 - left) * x
    by_hand = {"noise": noise, "sample": x, "velocity": velocity}[predicts]
    np.testing.assert_allclose(batch["wanted"], by_hand, atol=1e-3)
    assert set(batch["times"]) == set(range(50))
    assert batch["weights"].sum() == 399


def test_draws_do_not_depend_on_how_a_batch_is_cut() -> None:
    settings = DiffusionConfig(condition="label", classes=7, low_size=4)
    whole = noised_pictures(samples(), settings, None, 8)
    rows = slice(2, 5)
    given = samples()
    part = replace(
        given,
        pixels=given.pixels[rows],
        labels=given.labels[rows],
        captions=given.captions[rows],
        keys=given.keys[rows],
        ids=given.ids[rows],
        real=given.real[rows],
    )
    for name, array in noised_pictures(part, settings, None, 8).items():
        assert np.array_equal(array, whole[name][rows]), name


def test_some_are_told_nothing_in_training_alone(tmp_path: Path) -> None:
    words = vocabulary(tmp_path / TOKENIZER)
    settings = DiffusionConfig(condition="text", text_size=8, dropped=0.25)
    batch = noised_pictures(samples(400), settings, words, 8)
    lengths = batch["encoder_segments"].sum(1)
    assert (lengths == 1).mean() == pytest.approx(0.25, abs=0.06)
    assert (batch["encoder_tokens"][lengths == 1, 0] == words.eos).all()
    assert set(noised_pictures(samples(400, train=False), settings, words, 8)["encoder_segments"].sum(1)) == {
        int(lengths.max())
    }
    told = noised_pictures(samples(400), DiffusionConfig(condition="label", classes=7, dropped=0.25), None, 8)
    assert (told["classes"] == 7).mean() == pytest.approx(0.25, abs=0.06)


def test_a_small_picture_is_of_means_and_as_large() -> None:
    given = colours_of(samples().pixels)
    small = smaller(given, 4)
    assert small.shape == (6, 4, 4, 3)
    np.testing.assert_allclose(small[2, 1, 3], given[2, 2:4, 6:8].mean((0, 1)), rtol=1e-5)
    assert np.array_equal(smaller(larger(small, 8), 4), small)
    settings = DiffusionConfig(low_size=4, low_steps=10)
    batch = noised_pictures(samples(200), settings, None, 8)
    assert set(batch["low_times"]) == set(range(10))
    left = remaining(settings)[batch["low_times"]].reshape(-1, 1, 1, 1)
    small = smaller(colours_of(samples(200).pixels), 4)
    noise = (smaller(batch["low"], 4) - np.sqrt(left) * small) / np.sqrt(1 - left)
    assert noise.var() == pytest.approx(1, abs=0.05)


def test_the_loss_is_a_mean_of_squares() -> None:
    rng = np.random.default_rng(1)
    said, wanted = (torch.from_numpy(rng.normal(size=(3, 4, 4, 3)).astype(np.float32)) for _ in range(2))
    weights = torch.tensor([1.0, 0.0, 2.0])
    total, _ = Diffusion(ObjectiveConfig(kind="diffusion"))(
        {"said": said}, {"wanted": wanted, "weights": weights}
    )
    by_hand = sum(w * float(((said[i] - wanted[i]) ** 2).mean()) for i, w in enumerate((1, 0, 2)))
    assert float(total) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("name", ["label", "text"])
def test_parameters_are_counted_as_they_are(name: str) -> None:
    built = sum(one.numel() for one in denoisers.weights(name).values())
    assert parameters(denoisers.config(name)) == built


@pytest.mark.parametrize(("name", "millions"), [("s2", 33), ("b2", 130), ("l2", 458), ("xl2", 675)])
def test_presets_have_their_published_sizes(name: str, millions: int) -> None:
    """Peebles and Xie 2023, table 4: ours have three colours in and out where theirs have four numbers and
    eight, some 0.02 million fewer."""
    given = DiffusionConfig(condition="label", classes=1000)
    config = PipelineConfig(
        name=name,
        vision=VisionConfig(preset=f"dit-{name}"),
        objective=ObjectiveConfig(kind="diffusion", diffusion=given),
    )
    assert parameters(config) / 1e6 == pytest.approx(millions, abs=0.6)


@pytest.mark.parametrize(
    ("vision", "diffusion", "sentence"),
    [
        ({"class_token": True}, {}, "needs vision.class_token false"),
        ({"positions": "none"}, {}, "vision.positions learned or sinusoidal"),
        ({}, {"low_size": 5}, "low_size 5 is not a part of vision.image_size 8"),
        ({}, {"low_steps": 20, "steps": 10, "low_size": 4}, "low_steps 20 is more than steps 10"),
        ({}, {"first_variance": 0.5}, "variances rise"),
    ],
)
def test_what_does_not_go_together(vision: dict, diffusion: dict, sentence: str) -> None:  # type: ignore[type-arg]
    sizes = {"image_size": 8, "patch_size": 2, "hidden_size": 32, "class_token": False, "pooling": "mean"}
    with pytest.raises(ValidationError, match=sentence):
        PipelineConfig(
            name="wrong",
            vision=VisionConfig(**sizes | vision),  # type: ignore[arg-type]
            objective=ObjectiveConfig(kind="diffusion", diffusion=DiffusionConfig(**diffusion)),
        )
