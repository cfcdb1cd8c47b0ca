"""What is trained beside a transformer on the very same images: a linear model and a small convolutional net.

Both see the images in the order, number and augmentation of the training that they stand beside.
"""

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.objectives.pictures import ImageSamples

WIDTHS = (16, 32, 64)


def linear(size: int, classes: int) -> nn.Module:
    """Multinomial logistic regression on all pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, classes))


def convolutional(size: int, classes: int) -> nn.Module:
    """Three 3 x 3 convolutions with batch norm and ReLU, each at half the side before, and a mean."""
    del size
    layers: list[nn.Module] = []
    before = 3
    for width in WIDTHS:
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


MODELS: dict[str, Callable[[int, int], nn.Module]] = {"linear": linear, "convolutional": convolutional}


def inputs(samples: ImageSamples) -> Tensor:
    """[B, 3, Y, X] in [-1, 1]."""
    return torch.from_numpy(samples.pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def fit(model: nn.Module, batches: Iterable[ImageSamples], steps: int, rate: float, decay: float) -> None:
    """AdamW with a cosine to zero behind a tenth of warm-up, on as many batches."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    model.train()
    for step, samples in enumerate(batches):
        warm = min(1.0, (step + 1) / max(1, steps // 10))
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * (1 + math.cos(math.pi * step / steps)) / 2
        loss = F.cross_entropy(model(inputs(samples)), torch.from_numpy(samples.labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.inference_mode()
def right(model: nn.Module, batches: Iterable[ImageSamples]) -> tuple[int, int]:
    """How many are told right, and of how many."""
    model.eval()
    hits = total = 0
    for samples in batches:
        hits += int((model(inputs(samples)).argmax(1) == torch.from_numpy(samples.labels)).sum())
        total += len(samples.labels)
    return hits, total
