"""Batches and losses of objectives on images, beside literal formulas."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config import ObjectiveConfig, VisionConfig
from pipeline.distributed import world
from pipeline.models.stochastic_depth import Depth, thinned
from pipeline.models.vision.patches import resized
from pipeline.models.vision.pixels import normalised, patched, unpatched
from pipeline.objectives.draws import combine
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.classes import ImageClasses, classified
from pipeline.objectives.vision.contrastive import Contrastive
from pipeline.objectives.vision.masked_patches import MaskedPatches, masked_images, wanted
from pipeline.objectives.vision.mixing import beta, box_of, mixed

VISION = VisionConfig(image_size=16, patch_size=4, layers=3, stochastic_depth=0.5, classes=7)


def samples(count: int = 6, train: bool = True) -> ImageSamples:
    """Pictures of noise."""
    rng = np.random.default_rng(0)
    return ImageSamples(
        pixels=rng.integers(0, 256, (count, 16, 16, 3), np.uint8),
        labels=rng.integers(0, 7, count),
        captions=("",) * count,
        keys=combine(3, np.arange(count)),
        ids=np.arange(count, dtype=np.uint64),
        real=np.arange(count) != 1,
        train=train,
    )


def test_patches_come_back() -> None:
    pixels = torch.from_numpy(samples().pixels)
    assert torch.equal(unpatched(patched(pixels, 4), 4), pixels)
    assert torch.equal(patched(pixels, 4)[2, 5].view(4, 4, 3), pixels[2, 4:8, 4:8])


@pytest.mark.parametrize("parameter", [0.2, 0.8, 1.0])
def test_shares_are_of_a_beta_distribution(parameter: float) -> None:
    drawn = beta(combine(1, np.arange(20_000)), parameter)
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)
    assert drawn.var() == pytest.approx(1 / (4 * (2 * parameter + 1)), rel=0.03)


def test_mixup_is_a_weighted_sum_of_both() -> None:
    given = samples()
    found = mixed(given.pixels, given.keys, 0.8, 0.0)
    assert found.others.tolist() == [1, 0, 3, 2, 5, 4]
    shares = found.shares[:, None, None, None].astype(np.float64)
    by_hand = shares * given.pixels + (1 - shares) * given.pixels[found.others]
    assert np.abs(by_hand - found.pixels).max() <= 0.51


def test_cutmix_has_a_box_of_the_other_one() -> None:
    given = samples()
    found = mixed(given.pixels, given.keys, 0.0, 1.0)
    own = (found.pixels == given.pixels).all(3)
    other = (found.pixels == given.pixels[found.others]).all(3)
    assert (own | other).all()
    np.testing.assert_allclose(own.mean((1, 2)), found.shares, atol=1e-6)
    assert found.shares.min() < 1.0
    assert box_of(0.75, np.array([0.0, 0.5]), (16, 16)) == ((slice(0, 4), slice(4, 12)), 1 - 32 / 256)


def test_pairs_do_not_depend_on_how_a_batch_is_cut() -> None:
    given = samples()
    whole = mixed(given.pixels, given.keys, 0.4, 1.0)
    parts = [mixed(given.pixels[i : i + 2], given.keys[i : i + 2], 0.4, 1.0) for i in (0, 2, 4)]
    assert np.array_equal(whole.pixels, np.concatenate([part.pixels for part in parts]))
    assert np.array_equal(whole.shares, np.concatenate([part.shares for part in parts]))


def test_nothing_is_mixed_or_left_out_in_evaluation() -> None:
    settings = ObjectiveConfig(kind="image_classes", mixup=1.0, cutmix=1.0)
    given = samples(train=False)
    batch = classified(given, settings, VISION)
    assert np.array_equal(batch["pixels"], given.pixels)
    assert "kept" not in batch
    assert batch["weights"].tolist() == [1, 0, 1, 1, 1, 1]
    assert classified(samples(), settings, VISION)["kept"].shape == (6, 6)


def test_loss_of_classes_is_that_of_soft_targets() -> None:
    settings = ObjectiveConfig(kind="image_classes", label_smoothing=0.1)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 7, generator=generator)
    one, other = (torch.randint(7, (5,), generator=generator) for _ in range(2))
    shares, weights = torch.rand(5, generator=generator), torch.tensor([1.0, 1.0, 0.0, 1.0, 2.0])
    labels = {"classes": one, "other_classes": other, "shares": shares, "weights": weights}
    total, found = ImageClasses(settings)({"scores": scores}, labels)
    hot = torch.nn.functional.one_hot
    soft = shares[:, None] * hot(one, 7) + (1 - shares)[:, None] * hot(other, 7)
    by_row = torch.nn.functional.cross_entropy(scores, soft, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(total, (by_row * weights).sum())
    assert float(found["accuracy"]) == float(((scores.argmax(1) == one) * weights).sum())
    assert float(found["top5"]) >= float(found["accuracy"])


def test_patches_are_wanted_less_their_mean() -> None:
    given = samples()
    plain = patched(normalised(torch.from_numpy(given.pixels), VISION), 4)
    torch.testing.assert_close(torch.from_numpy(wanted(given.pixels, VISION, False)), plain)
    scaled = (plain - plain.mean(2, keepdim=True)) / (plain.var(2, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(torch.from_numpy(wanted(given.pixels, VISION, True)), scaled)


def test_three_quarters_are_hidden_and_count() -> None:
    batch = masked_images(samples(), VISION, 0.75, normalise=True)
    assert batch["visible"].shape == (6, 4)
    assert batch["patch_weights"].sum(1).tolist() == [12, 0, 12, 12, 12, 12]
    for row, visible in enumerate(batch["visible"]):
        assert row == 1 or (batch["patch_weights"][row][visible] == 0).all()
    labels = {name: torch.from_numpy(batch[name]) for name in ("wanted", "patch_weights")}
    nothing = torch.zeros(16, 6, 48)
    loss, _ = MaskedPatches(ObjectiveConfig(kind="masked_patches"))({"restored": nothing}, labels)
    assert float(loss) / 60 == pytest.approx(47 / 48, rel=1e-3)


def test_contrastive_loss_is_its_formula_and_passes_over_what_has_no_weight() -> None:
    world.start_alone()
    generator = torch.Generator().manual_seed(1)

    def unit() -> Tensor:
        return torch.nn.functional.normalize(torch.randn(5, 8, generator=generator), dim=1)

    images, texts, scale = unit(), unit(), torch.tensor([9.0])
    objective = Contrastive(ObjectiveConfig(kind="contrastive"))
    outputs = {"image_features": images, "text_features": texts, "scale": scale}
    real = [0, 1, 3, 4]
    weights = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0])
    total, found = objective(outputs, {"weights": weights})
    scores, own = 9.0 * images[real] @ texts[real].t(), torch.arange(4)
    by_hand = sum(
        torch.nn.functional.cross_entropy(one, own, reduction="sum") for one in (scores, scores.t())
    )
    torch.testing.assert_close(total, by_hand / 2)
    assert float(found["scale"]) == 36.0
    assert float(found["image_to_text"]) == float((scores.argmax(1) == own).sum())


def test_branches_that_are_left_out_give_nothing_and_others_more() -> None:
    flow = {"kept": torch.tensor([[True, False, True, True], [True, True, False, True]])}
    ones = torch.ones(3, 2, 4)
    branch = thinned(lambda x: x, flow, Depth(1, 0.25), 0)
    assert branch(ones)[0, :, 0].tolist() == pytest.approx([4 / 3, 0.0])
    assert thinned(lambda x: x, {}, Depth(1, 0.25), 0)(ones).equal(ones)


def test_positions_are_stretched_in_the_plane() -> None:
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    table = torch.cat((torch.full((1, 2), 9.0), torch.stack((rows.flatten(), columns.flatten()), 1)))
    found = resized(table, 65, class_token=True)
    assert found[0].tolist() == [9.0, 9.0]
    plane = found[1:].view(8, 8, 2)
    assert (plane[:, :, 0].diff(dim=0) > 0).all()
    assert plane[:, :, 1].mean().item() == pytest.approx(1.5, abs=1e-5)
    assert resized(table, 17, class_token=True) is table
    assert math.isclose(float(plane[0, 0, 0]), float(plane[0, 7, 0]), abs_tol=1e-6)
