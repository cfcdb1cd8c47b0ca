"""The layers of a denoiser, from a noised picture to what is said of it."""

from megatron.core import ModelParallelConfig

from pipeline.config.diffusion import DiffusionConfig
from pipeline.config.vision import VisionConfig
from pipeline.costs.diffusion import block_cost
from pipeline.models.context import MemoryMask
from pipeline.models.diffusion.block import DenoisingBlock, Said
from pipeline.models.diffusion.told import Start
from pipeline.models.layer import Layer
from pipeline.models.vision.patches import PlanePositions

DENOISER = "denoiser."
"""Prefix of its names."""
READ = ("noised", "times", "low", "low_times", "classes", "encoder_tokens", "text_states")
"""What the first layer takes of a batch."""


def denoiser(
    vision: VisionConfig, diffusion: DiffusionConfig, length: int, megatron: ModelParallelConfig
) -> list[Layer]:
    """From `noised` and `times` to `said`; captions have `length` tokens."""
    cross = diffusion.condition == "text"
    given = ("hidden", *(("memory",) if cross else ()), "told")
    found = [
        Layer(f"{DENOISER}start", Start, (vision, diffusion, megatron), gives=given, ends=READ),
        Layer(f"{DENOISER}positions", PlanePositions, (vision, megatron)),
    ]
    if cross:
        found.append(Layer("memory_mask", MemoryMask, (), gives=("memory_mask",), local=True))
    cost = block_cost(vision, length if cross else 0)
    last = ("memory", "memory_mask", "encoder_segments") if cross else ()
    found += [
        Layer(
            f"{DENOISER}blocks.{number}",
            DenoisingBlock,
            (vision, megatron, cross),
            cost,
            ends=last if number == vision.layers - 1 else (),
            block=True,
        )
        for number in range(vision.layers)
    ]
    arguments = (vision, megatron)
    return [*found, Layer(f"{DENOISER}out", Said, arguments, gives=("said",), ends=("hidden", "told"))]
