"""What a denoiser costs: parameters and FLOPs, computed without building it."""

from pipeline.config import PipelineConfig
from pipeline.config.vision import VisionConfig
from pipeline.costs import flops

WAVES = 256
"""Numbers that a time is before it is embedded."""


def parameters(config: PipelineConfig) -> int:
    """From a noised picture to what is said of it; fixed positions are no parameters."""
    vision, diffusion = config.vision, config.objective.diffusion
    assert vision is not None
    width, blocks = vision.hidden_size, vision.blocks
    pictures = 2 if diffusion.low_size else 1
    time = (WAVES + 1) * width + (width + 1) * width
    count = (pictures * vision.patch_numbers + 1) * width + pictures * time
    count += vision.tokens * width * (vision.positions == "learned")
    if diffusion.condition == "label":
        count += ((diffusion.classes or 0) + 1) * width
    each = flops.block_parameters(blocks) - 2 * flops.norm_size(blocks) + 6 * width * (width + 1)
    if diffusion.condition == "text":
        text = diffusion.text_size or 0
        count += 2 * (text + 1) * width + flops.norm_size(blocks, text)
        each += flops.block_parameters(blocks, cross=True) - flops.block_parameters(blocks)
    count += vision.layers * each
    return count + 2 * width * (width + 1) + (width + 1) * vision.patch_numbers


def block_cost(vision: VisionConfig, caption: int) -> float:
    """FLOPs of a block's forward pass on a picture beside so many tokens of a caption."""
    model, seen = vision.blocks, vision.patches
    own = 2.0 * flops.block_weights(model) + flops.attention_products(model, seen, causal=False)
    total = seen * own + 12.0 * vision.hidden_size**2
    if caption:
        cross = 2.0 * flops.query_output_weights(model) + flops.attention_products(
            model, caption, causal=False
        )
        total += seen * cross + caption * 2.0 * flops.key_value_weights(model)
    return total


def training_per_sample(config: PipelineConfig) -> float:
    """Model FLOPs of training on a picture, forward and backward; a frozen text encoder is not counted."""
    vision, diffusion = config.vision, config.objective.diffusion
    assert vision is not None
    caption = config.data.sequence_length if diffusion.condition == "text" else 0
    ends = (3 if diffusion.low_size else 2) * 2.0 * vision.patch_numbers * vision.hidden_size
    forward = vision.patches * ends + vision.layers * block_cost(vision, caption)
    forward += 2.0 * 2 * vision.hidden_size * (diffusion.text_size or 0) * caption
    return 3.0 * forward
