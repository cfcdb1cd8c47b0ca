"""Seconds that one GPU computes: matrix products, attention, and what its memory's bandwidth bounds.

A product is cut into tiles that the multiprocessors compute at once, so that a last, partly filled wave takes
as long as a full one (NVIDIA, Matrix Multiplication Background User's Guide, sections 5.1 and 5.2). It takes
the longer of computing and of moving its matrices (Williams et al. 2009, the roofline).
"""

from dataclasses import dataclass

from pipeline.costs.devices import Device
from pipeline.planning.calibration import LAUNCH, PROLOGUE, STREAM, SUSTAINED

TILES = ((256, 128, 1.0), (128, 256, 1.0), (128, 128, 0.9), (64, 64, 0.6))
"""Rows and columns of a tile, and the share of the best speed that so small a one reaches: two matrices of
128 x 128 bring half the work for two thirds of the traffic."""


@dataclass(frozen=True)
class Product:
    """[rows, inner] x [inner, columns]."""

    rows: float
    columns: float
    inner: float

    @property
    def flops(self) -> float:
        return 2 * self.rows * self.columns * self.inner

    @property
    def values(self) -> float:
        """Read and written once."""
        return self.rows * self.inner + self.inner * self.columns + self.rows * self.columns


def filled(product: Product, units: int) -> float:
    """Share of the multiprocessors' time that a product's tiles fill, with the best of the tiles' sizes."""
    return max(_filled(product, units, *tile) for tile in TILES)


def _filled(product: Product, units: int, high: int, wide: int, share: float) -> float:
    tiles = -(-product.rows // high) * -(-product.columns // wide)
    area = product.rows * product.columns / (tiles * high * wide)
    return share * area * tiles / (-(-tiles // units) * units)


@dataclass(frozen=True)
class Gpu:
    """A device that computes in one precision."""

    device: Device
    precision: str = "bfloat16"

    @property
    def width(self) -> int:
        """Bytes of a value."""
        return 4 if self.precision == "float32" else 2

    def multiply(self, product: Product, fp8: bool = False) -> float:
        """Seconds of a matrix product."""
        peak = self.device.peak("fp8" if fp8 else self.precision)
        best = peak * (self.device.matmul_eight if fp8 else self.device.matmul)
        depth = product.inner / (product.inner + PROLOGUE)
        computing = product.flops / (best * SUSTAINED * filled(product, self.device.units) * depth)
        return max(computing, self.move(self.width * product.values), LAUNCH)

    def train(self, product: Product, fp8: bool = False) -> float:
        """Seconds of the backward pass of a product with a weight: gradients of the input and the weight."""
        inputs = Product(product.rows, product.inner, product.columns)
        weight = Product(product.inner, product.columns, product.rows)
        return self.multiply(inputs, fp8) + self.multiply(weight, fp8)

    def fused(self, flops: float, share: float) -> float:
        """Seconds of fused attention that reaches this share of the peak."""
        return LAUNCH + flops / (share * self.device.peak(self.precision))

    def move(self, size: float) -> float:
        """Seconds in which so many bytes go to or from memory."""
        return size / (self.device.bandwidth * STREAM)
