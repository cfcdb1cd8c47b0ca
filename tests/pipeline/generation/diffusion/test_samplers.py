"""Schedules and samplers equal diffusers' schedulers, where it is there, and literal formulas.

Within 1e-5 of numbers of about 1: diffusers has its tables in float32.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config.diffusion import DiffusionConfig
from pipeline.generation.diffusion.samplers import Sampler, guided, limited, sample_of
from pipeline.objectives.draws import combine
from pipeline.objectives.vision.noise import factors, noised, normals, remaining, variances, wanted

STEPS = 40
NAMES = {"noise": "epsilon", "sample": "sample", "velocity": "v_prediction"}
LINEAR = DiffusionConfig(schedule="linear", steps=STEPS, first_variance=1e-3, last_variance=0.1)
COSINE = DiffusionConfig(schedule="cosine", steps=STEPS)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def theirs(name: str, settings: DiffusionConfig, **more: Any) -> Any:
    """Their scheduler, all that has a default of its own said."""
    diffusers = pytest.importorskip("diffusers")
    return getattr(diffusers, name)(
        num_train_timesteps=settings.steps,
        beta_start=settings.first_variance,
        beta_end=settings.last_variance,
        beta_schedule={"linear": "linear", "cosine": "squaredcos_cap_v2"}[settings.schedule],
        steps_offset=0,
        **more,
    )


@pytest.mark.parametrize("settings", [LINEAR, COSINE], ids=lambda one: one.schedule)
def test_schedules_are_theirs(settings: DiffusionConfig) -> None:
    scheduler = theirs("DDPMScheduler", settings)
    np.testing.assert_allclose(variances(settings), scheduler.betas, rtol=2e-5)
    np.testing.assert_allclose(remaining(settings), scheduler.alphas_cumprod, rtol=2e-5, atol=1e-9)
    x, noise, times = drawn(4, 3, 3), drawn(4, 3, 3, seed=1), torch.tensor([0, 7, 20, 39])
    left = remaining(settings)[times.numpy()]
    np.testing.assert_allclose(
        noised(x.numpy(), noise.numpy(), left), scheduler.add_noise(x, noise, times), atol=1e-5
    )
    np.testing.assert_allclose(
        wanted("velocity", x.numpy(), noise.numpy(), left), scheduler.get_velocity(x, noise, times), atol=1e-5
    )


def test_the_published_tables() -> None:
    """Ho et al. 2020, section 4, and Nichol and Dhariwal 2021, equation 17, by hand."""
    linear = variances(DiffusionConfig(schedule="linear"))
    assert (linear[0], linear[-1], len(linear)) == (1e-4, 0.02, 1000)
    left = remaining(DiffusionConfig(schedule="cosine"))
    by_hand = [np.cos((t / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2 for t in range(999)]
    np.testing.assert_allclose(left[:998], np.array(by_hand[1:]) / by_hand[0], rtol=1e-9)
    assert 1 - left[-1] / left[-2] == pytest.approx(0.999)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("predicts", ["noise", "sample", "velocity"])
@pytest.mark.parametrize("threshold", ["none", "clip", "dynamic"])
def test_ddim_equals_theirs(spacing: Any, predicts: Any, threshold: Any) -> None:
    clip = {"clip_sample": threshold == "clip", "thresholding": threshold == "dynamic"}
    scheduler = theirs(
        "DDIMScheduler",
        COSINE,
        prediction_type=NAMES[predicts],
        timestep_spacing=spacing,
        set_alpha_to_one=True,
        sample_max_value=1e9,
        **clip,
    )
    scheduler.set_timesteps(8)
    ours = Sampler(remaining(COSINE), predicts, 8, "ddim", spacing, threshold, eta=0.5)
    assert ours.times() == scheduler.timesteps.tolist()
    x = mine = drawn(3, 4, 4, 3)
    for number, time in enumerate(ours.times()):
        said, noise = 0.5 * drawn(3, 4, 4, 3, seed=10 + number), drawn(3, 4, 4, 3, seed=30 + number)
        found = scheduler.step(said, time, x, eta=0.5, use_clipped_model_output=True, variance_noise=noise)
        before = [*ours.times()[1:], -1][number]
        mine = ours.step(said, mine, time, before, noise)
        x = found.prev_sample
        torch.testing.assert_close(mine, x, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("predicts", ["noise", "velocity"])
def test_ddpm_equals_theirs(predicts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = theirs(
        "DDPMScheduler",
        LINEAR,
        prediction_type=NAMES[predicts],
        variance_type="fixed_small",
        timestep_spacing="leading",
        clip_sample=True,
    )
    scheduler.set_timesteps(10)
    ours = Sampler(remaining(LINEAR), predicts, 10, "ddpm", "leading", "clip")
    where = type(scheduler).__module__
    x = mine = drawn(2, 4, 4, 3)
    for number, time in enumerate(ours.times()):
        said, noise = drawn(2, 4, 4, 3, seed=10 + number), drawn(2, 4, 4, 3, seed=30 + number)
        monkeypatch.setattr(f"{where}.randn_tensor", lambda *_, noise=noise, **__: noise)
        x = scheduler.step(said, time, x).prev_sample
        mine = ours.step(said, mine, time, [*ours.times()[1:], -1][number], noise)
        torch.testing.assert_close(mine, x, atol=2e-5, rtol=2e-5)


def test_what_is_said_means_one_sample_however_it_is_said() -> None:
    x, noise, left = drawn(2, 3, 3, 3), drawn(2, 3, 3, 3, seed=1), 0.3
    seen = noised(x.numpy(), noise.numpy(), np.array([left, left]))
    for kind in ("noise", "sample", "velocity"):
        said = wanted(kind, x.numpy(), noise.numpy(), np.array([left, left]))  # type: ignore[arg-type]
        found = sample_of(torch.from_numpy(said), torch.from_numpy(seen), left, kind)  # type: ignore[arg-type]
        torch.testing.assert_close(found, x, atol=1e-5, rtol=1e-5)
    a, s = factors(np.array([left]), 2)
    assert (a**2 + s**2).item() == pytest.approx(1.0)


def test_ddpm_draws_from_the_product_of_two_normal_distributions() -> None:
    """q(x_before | x, sample) by Bayes' rule, as precisions add up."""
    left, time, before = remaining(LINEAR), 20, 16
    x, sample = drawn(1, 2, 2, 3), drawn(1, 2, 2, 3, seed=1)
    sampler = Sampler(left, "sample", 10, "ddpm", threshold="none")
    alpha = left[time] / left[before]
    precision = alpha / (1 - alpha) + 1 / (1 - left[before])
    mean = alpha**0.5 / (1 - alpha) * x + left[before] ** 0.5 / (1 - left[before]) * sample
    torch.testing.assert_close(sampler.step(sample, x, time, before, None), (mean / precision).float())
    ones = torch.ones_like(x)
    spread = sampler.step(sample, x, time, before, ones) - sampler.step(sample, x, time, before, None)
    torch.testing.assert_close(spread, (ones * precision**-0.5).float(), atol=1e-6, rtol=1e-5)


def test_a_perfect_denoiser_comes_to_the_picture() -> None:
    x = drawn(2, 4, 4, 3).clamp(-1, 1)
    for kind in ("ddim", "ddpm"):
        sampler = Sampler(remaining(COSINE), "sample", 10, kind, threshold="clip")  # type: ignore[arg-type]
        found = sampler.sample(lambda *_: x, combine(3, np.arange(2)), (4, 4, 3), torch.device("cpu"))
        torch.testing.assert_close(found, x, atol=1e-5, rtol=1e-5)


def test_samples_depend_on_their_keys_alone() -> None:
    sampler = Sampler(remaining(COSINE), "noise", 5, "ddpm")
    keys = combine(3, np.arange(4))

    def made(some: Any) -> Tensor:
        return sampler.sample(lambda x, _: 0.1 * x, some, (4, 4, 3), torch.device("cpu"))

    torch.testing.assert_close(made(keys), torch.cat((made(keys[:1]), made(keys[1:]))))


def test_dynamic_threshold_is_imagens() -> None:
    x = torch.stack((torch.linspace(-3, 2, 1001), torch.linspace(-0.5, 0.5, 1001)))
    found = limited(x, "dynamic")
    most = float(np.quantile(np.abs(x[0].numpy()), 0.995))
    torch.testing.assert_close(found[0], x[0].clamp(-most, most) / most)
    assert torch.equal(found[1], x[1])


def test_guidance_of_one_is_none() -> None:
    without, told = drawn(2, 3), drawn(2, 3, seed=1)
    assert torch.equal(guided(without, told, 0.0), without)
    torch.testing.assert_close(guided(without, told, 1.0), told)
    torch.testing.assert_close(guided(without, told, 3.0), 3 * told - 2 * without)


def test_noise_is_normal_and_of_its_key() -> None:
    found = normals(combine(1, np.arange(2000)), (5, 5), 7)
    assert found.shape == (2000, 5, 5)
    assert found.mean() == pytest.approx(0.0, abs=0.02)
    assert found.var() == pytest.approx(1.0, abs=0.02)
    assert (found**4).mean() == pytest.approx(3.0, abs=0.15)
    assert np.array_equal(found[3:5], normals(combine(1, np.arange(3, 5)), (5, 5), 7))
    assert abs(np.corrcoef(found.reshape(2000, 25).T) - np.eye(25)).max() < 0.1
