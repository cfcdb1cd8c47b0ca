"""The quantiser beside its formula written out code by code, and what its rule for dead codes does."""

import numpy as np
import torch
from torch import Tensor

from pipeline.config import ObjectiveConfig, PipelineConfig, VisionConfig
from pipeline.config.quantiser import QuantiserConfig
from pipeline.costs import vision as costs
from pipeline.distributed import world
from pipeline.models.initialize import draw, initialize
from pipeline.models.linear import megatron_config
from pipeline.models.vision.pixels import coloured, normalised, patched
from pipeline.models.vision.quantiser import SHARPNESS, Quantiser, quantised
from pipeline.objectives.vision.token_maps import as_map, numbers_of
from pipeline.parallel.stack import Stack

CODES, SIZE, WIDTH, PATCHES, IMAGES = 7, 3, 8, 4, 2


def vision(**more: float) -> VisionConfig:
    return VisionConfig(
        **{"image_size": 8, "patch_size": 4, "layers": 1, "hidden_size": WIDTH, "heads": 2},
        **{"decoder_layers": 1, "decoder_hidden_size": 8, "decoder_heads": 2},
        class_token=False,
        pooling="mean",
        quantiser=QuantiserConfig(codes=CODES, code_size=SIZE, **more),
    )


def module(**more: float) -> Quantiser:
    world.start_alone()
    found = Quantiser(vision(**more), megatron_config(torch.float32))
    initialize(((f"quantiser.{name}", one) for name, one in found.named_parameters()), 0, 0, 1)
    return found


def literal(
    own: Quantiser, hidden: Tensor, commitment: float, spread: float
) -> tuple[Tensor, list[list[int]], list[Tensor]]:
    """Codes [N][B], numbers [N][B] and the error of each image, one feature at a time."""
    codes = [row / row.square().sum().sqrt() for row in own.codebook]
    chosen, numbers, errors = [], [], [torch.zeros(()) for _ in range(IMAGES)]
    for patch in range(PATCHES):
        for image in range(IMAGES):
            feature = own.linear.weight @ hidden[patch, image] + own.linear.bias
            feature = feature / feature.square().sum().sqrt()
            apart = torch.stack([(feature - code).square().sum() for code in codes]).detach()
            number = int(apart.argmin())
            code = codes[number]
            error = (feature.detach() - code).square().mean()
            error = error + commitment * (feature - code.detach()).square().mean()
            weights = torch.exp(SHARPNESS * (1.0 - apart / 2.0))  # cosines of what has length one
            for weight, one in zip(weights / weights.sum(), codes, strict=True):
                error = error + spread * weight * (feature.detach() - one).square().mean()
            errors[image] = errors[image] + error / PATCHES
            chosen.append(feature + (code - feature).detach())
            numbers.append(number)
    grid = [numbers[start : start + IMAGES] for start in range(0, len(numbers), IMAGES)]
    return torch.stack(chosen).view(PATCHES, IMAGES, SIZE), grid, errors


def test_codes_errors_and_gradients_are_those_of_the_formula() -> None:
    own, toward = module(commitment=0.3, spread=0.2), draw("toward", 1, torch.Size((4, 2, SIZE)), 1.0)
    given = draw("hidden", 1, torch.Size((PATCHES, IMAGES, WIDTH)), 1.0)
    images = torch.tensor([1.0, 2.0])
    found = []
    for how in (0, 1):
        hidden = given.clone().requires_grad_()
        own.zero_grad()
        if how:
            said = own({"hidden": hidden})
            chosen, numbers, errors = said["hidden"], said["codes"].t().tolist(), said["code_errors"]
        else:
            chosen, numbers, parts = literal(own, hidden, 0.3, 0.2)
            errors = torch.stack(parts)
        ((chosen * toward).sum() + (errors * images).sum()).backward()
        gradients = [one.grad.clone() for one in (hidden, own.codebook, own.linear.weight, own.linear.bias)]
        found.append((numbers, [chosen.detach(), errors.detach(), *gradients]))
    assert found[0][0] == found[1][0]
    for theirs, ours in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-5)  # float32, other orders of sums


def test_what_passes_through_is_the_code_and_its_gradient_the_features() -> None:
    own = module(commitment=0.0, spread=0.0)
    hidden = draw("hidden", 2, torch.Size((PATCHES, IMAGES, WIDTH)), 1.0)
    said = own({"hidden": hidden})
    rows = own.codes()[said["codes"].t()]
    torch.testing.assert_close(said["hidden"], rows, atol=1e-6, rtol=0)
    said["hidden"].sum().backward()
    assert own.codebook.grad is None or not own.codebook.grad.any()
    assert own.linear.weight.grad.abs().max() > 0


def moved(spread: float) -> Tensor:
    """Cosines of a code that nothing chooses and of the features, before and after steps of Adam."""
    own = module(spread=spread)
    with torch.no_grad():
        own.codebook[0] = torch.tensor([-1.0, -1.0, -0.5])
        own.linear.weight.mul_(0.1)
        own.linear.bias.fill_(1.0)
    hidden = draw("hidden", 3, torch.Size((PATCHES, IMAGES, WIDTH)), 1.0)
    rule, cosines = torch.optim.Adam([own.codebook], 0.05), []
    for _ in range(60):
        said = own({"hidden": hidden})
        assert cosines or 0 not in said["codes"]
        cosines.append((own.codes()[0].detach() @ torch.ones(SIZE)) / SIZE**0.5)
        rule.zero_grad()
        said["code_errors"].sum().backward()
        rule.step()
    return cosines[-1] - cosines[0]


def test_a_code_that_nothing_chooses_goes_where_features_are() -> None:
    assert moved(0.01) > 1.0
    assert moved(0.0) == 0.0


def test_parameters_are_counted_and_pictures_come_back() -> None:
    world.start_alone()
    stack = Stack(quantised(vision(), megatron_config(torch.float32)))
    config = PipelineConfig(
        name="count", vision=vision(), objective=ObjectiveConfig(kind="quantised_patches")
    )
    assert sum(one.numel() for one in stack.parameters()) == costs.parameters(config)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    colours = patched(normalised(torch.from_numpy(pixels), vision()), 4)
    assert (coloured(colours, vision()).numpy() == pixels).all()


def test_maps_hold_every_number() -> None:
    numbers = np.random.default_rng(0).integers(0, 1 << 24, (3, 16))
    maps = as_map(numbers, 4)
    assert maps.shape == (3, 4, 4, 3)
    assert (numbers_of(maps) == numbers).all()
