"""Initial weights that do not depend on the parallel layout.

Every parameter is drawn whole from a generator seeded by the run's seed and the parameter's name, and each
tensor-parallel rank keeps its part. So (2, 1, 1) starts from the very weights of (1, 1, 1).
"""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pipeline.distributed import sharding


@torch.no_grad()
def initialize(
    parameters: Iterable[tuple[str, nn.Parameter]], seed: int, tensor_rank: int, tensor_size: int
) -> None:
    """Fill every parameter that carries an `initial_std`; norms and biases are set where they are made.

    An `initial_change` makes something else of what is drawn, given the parameter's name and the seed.
    """
    for name, parameter in parameters:
        std = getattr(parameter, "initial_std", None)
        if std is not None:
            whole = draw(name, seed, sharding.whole_shape(parameter, tensor_size), std)
            if (change := getattr(parameter, "initial_change", None)) is not None:
                whole = change(name, seed, whole)
            parameter.copy_(sharding.shard(whole, parameter, tensor_rank, tensor_size))


def draw(name: str, seed: int, shape: torch.Size, std: float | Tensor) -> Tensor:
    """Normal values for the parameter of this name; `std` may differ by row."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.empty(shape).normal_(generator=generator) * std
