"""What an image model costs: parameters and FLOPs, computed without building it."""

from pipeline.config import ModelConfig, PipelineConfig
from pipeline.config.objective import IN_TEXT
from pipeline.config.vision import VisionConfig
from pipeline.costs import diffusion, flops
from pipeline.costs.lengths import Lengths
from pipeline.optim.names import fits


def tower_parameters(vision: VisionConfig) -> int:
    """From pixels to the last norm; fixed positions are no parameters."""
    width, blocks = vision.hidden_size, vision.blocks
    count = (vision.patch_numbers + vision.patch_bias) * width + vision.class_token * width
    count += vision.tokens * width * (vision.positions == "learned")
    count += vision.embedding_norm * flops.norm_size(blocks) + flops.norm_size(blocks, vision.width)
    if vision.architecture == "vit":
        return count + vision.layers * flops.block_parameters(blocks)
    table = (2 * vision.window - 1) ** 2
    for model in vision.stages:
        count += model.layers * (flops.block_parameters(model) + table * model.heads)
    merged = vision.stages[:-1]
    return count + sum(flops.norm_size(one, 4 * one.hidden_size) + 8 * one.hidden_size**2 for one in merged)


def decoder_parameters(vision: VisionConfig, inputs: int) -> int:
    """A decoder of images, from what is `inputs` wide to a patch's colours."""
    decoder = vision.decoder
    width = decoder.hidden_size
    count = (inputs + 1) * width + flops.norm_size(decoder)
    count += decoder.layers * flops.block_parameters(decoder)
    return count + (width + 1) * vision.patch_numbers


def quantiser_parameters(vision: VisionConfig) -> int:
    """The codebook, the projection to its codes, and the decoder behind it."""
    assert vision.quantiser is not None
    size = vision.quantiser.code_size
    return (vision.width + 1 + vision.quantiser.codes) * size + decoder_parameters(vision, size)


def said_rows(vision: VisionConfig) -> int:
    """Rows of the table of a decoder that says images: the codes, and what an image starts from."""
    assert vision.quantiser is not None
    return flops.padded_vocabulary(vision.quantiser.codes + 1)


def visible_patches(vision: VisionConfig, density: float) -> int:
    """Patches that a masked autoencoder's encoder sees, rounded down (He et al. 2022, in their code)."""
    return int(vision.patches * (1 - density))


def parameters(config: PipelineConfig, vocabulary_rows: int = 0) -> int:
    """Parameters of the model that a run trains."""
    vision = config.vision
    assert vision is not None
    if config.objective.kind == "diffusion":
        return diffusion.parameters(config)
    if config.objective.kind == "image_tokens":
        words = vocabulary_rows * config.model.hidden_size
        return words + flops.parameters(config.model, said_rows(vision), config.position_table)
    count, kind = tower_parameters(vision), config.objective.kind
    if kind in IN_TEXT:
        return in_text_parameters(config, vocabulary_rows)
    if kind == "image_classes":
        return count + (vision.width + 1) * (vision.classes or 0)
    if kind == "masked_patches":
        return count + decoder_parameters(vision, vision.hidden_size) + vision.decoder_hidden_size
    if kind == "quantised_patches":
        return count + quantiser_parameters(vision)
    joint = vision.joint_size or 0
    text = vocabulary_rows * config.model.hidden_size + config.model.layers * flops.block_parameters(
        config.model
    )
    text += flops.stack_extras(config.model, config.position_table, config.model.heads)
    return count + text + (vision.width + config.model.hidden_size) * joint + 1


def in_text_parameters(config: PipelineConfig, vocabulary_rows: int) -> int:
    """A tower up to its last but one layer, the projector, and the decoder with images in its sequence."""
    vision, width = config.vision, config.model.word_size or config.model.hidden_size
    assert vision is not None
    words = flops.parameters(config.model, vocabulary_rows, config.position_table)
    if config.objective.blind:
        return words
    words += tower_parameters(vision) - flops.block_parameters(vision.blocks) - flops.norm_size(vision.blocks)
    if config.objective.kind == "image_rationales":
        wide = config.model.hidden_size
        return words + (vision.width + 1) * wide + 4 * wide * (wide + 1) + wide * (2 * wide + 1)
    if config.objective.kind == "image_answers":
        return words + (vision.width + 1) * width + (width + 1) * width
    return words + gated_parameters(config)


def plain_layer(model: ModelConfig, width: int, heads: int) -> ModelConfig:
    """How layers beside a model are made: no biases of linears, pre-norm, GELU, an MLP four times as wide."""
    return ModelConfig(
        architecture="encoder",
        layers=1,
        hidden_size=width,
        heads=heads,
        bias=False,
        activation="gelu",
        initial_std=model.initial_std,
        initialization="plain",
        language_head=False,
    )


def gated_parameters(config: PipelineConfig) -> int:
    """A resampler, and the gated layers that look at what it gives."""
    vision, model = config.vision, config.model
    assert vision is not None
    wide, narrow = model.hidden_size, vision.width
    norm = flops.norm_size(plain_layer(model, wide, model.heads))
    gated = 2 * norm + 2 * wide * (wide + narrow) + 8 * wide**2 + 2
    norm = flops.norm_size(plain_layer(model, narrow, vision.heads))
    resampler = vision.resampler_layers * (3 * norm + 12 * narrow**2) + norm + vision.latents * narrow
    return resampler + len(range(0, model.layers, vision.cross_every)) * gated


def training_per_sample(config: PipelineConfig, vocabulary_rows: int = 0) -> float:
    """Model FLOPs of training on an image, or on images and their text, forward and backward."""
    vision, objective = config.vision, config.objective
    assert vision is not None
    if objective.kind == "diffusion":
        return diffusion.training_per_sample(config)
    if objective.kind == "image_tokens":
        lengths = Lengths(config.data.sequence_length, vision.patches)
        return flops.training_per_sample(config.model, lengths, said_rows(vision))
    seen = vision.tokens
    if objective.kind in IN_TEXT:
        return _in_text(config, vocabulary_rows)
    forward = vision.patches * 2.0 * vision.patch_numbers * vision.hidden_size
    if objective.kind == "masked_patches":
        seen = visible_patches(vision, objective.density) + vision.class_token
        ends = 2.0 * vision.decoder_hidden_size * (vision.hidden_size + vision.patch_numbers)
        forward += _blocks(vision.decoder, vision.tokens) + vision.tokens * ends
    elif objective.kind == "quantised_patches":
        assert vision.quantiser is not None
        size, codes = vision.quantiser.code_size, vision.quantiser.codes
        ends = 2.0 * (vision.hidden_size + codes + vision.decoder_hidden_size) * size
        ends += 2.0 * vision.decoder_hidden_size * vision.patch_numbers
        forward += _blocks(vision.decoder, vision.tokens) + vision.tokens * ends
    elif objective.kind == "image_classes":
        forward += 2.0 * vision.width * (vision.classes or 0)
    else:
        forward += _blocks(config.model, config.data.sequence_length)
        forward += 2.0 * (vision.width + config.model.hidden_size) * (vision.joint_size or 0)
    return 3.0 * (forward + _tower(vision, seen))


def _in_text(config: PipelineConfig, vocabulary_rows: int) -> float:
    """FLOPs of training a decoder with images in its sequence; of a frozen tower those forward alone."""
    vision, model = config.vision, config.model
    assert vision is not None
    text = config.data.sequence_length
    both = config.objective.kind == "image_rationales"
    found = flops.training_per_sample(model, Lengths(text, text * both), vocabulary_rows)
    if config.objective.blind:
        return found
    width = model.word_size or model.hidden_size
    learns = 1.0 if fits("image.patches.linear.weight", config.train.freeze) else 3.0
    patches = vision.patches * 2.0 * vision.patch_numbers * vision.hidden_size
    between = vision.patches * 2.0 * (vision.width + width) * width
    if config.objective.kind == "image_pages":
        resampled = plain_layer(model, vision.width, vision.heads)
        gated = plain_layer(model, model.hidden_size, model.heads)
        between = vision.resampler_layers * _blocks(resampled, vision.latents)
        between += len(range(0, model.layers, vision.cross_every)) * _blocks(
            gated, config.data.sequence_length
        )
    if both:
        wide, seen = model.hidden_size, vision.patches
        between = 2.0 * seen * vision.width * wide + 4.0 * wide * ((2 * text + seen) * wide + text * seen)
    layers = (vision.layers - 1) * flops.block_cost(vision.blocks, Lengths(vision.tokens), in_encoder=False)
    return found + config.objective.pictures * (learns * (patches + layers) + 3.0 * between)


def _tower(vision: VisionConfig, seen: int) -> float:
    """FLOPs forward of the layers of a tower that see so many tokens, or of a Swin's windows."""
    if vision.architecture == "vit":
        return _blocks(vision.blocks, seen)
    side, total = vision.side, 0.0
    for number, model in enumerate(vision.stages):
        if number:
            side = -(-side // 2)
            total += side * side * 4.0 * model.hidden_size**2
        total += model.layers * window_cost(model, side, vision.window)
    return total


def window_cost(model: ModelConfig, side: int, window: int) -> float:
    """FLOPs forward of a layer that sees windows of a map of this side, filled up to whole ones."""
    window = min(side, window)
    filled = -(-side // window) * window
    weights, products = flops.block_weights(model), flops.attention_products(model, window**2, causal=False)
    return side * side * 2.0 * weights + filled * filled * products


def held_bytes(count: int, model_ranks: int, data_ranks: int, zero_stage: int) -> float:
    """Bytes of float32 weights, gradients and AdamW's moments of so many parameters on a rank.

    The ranks of a model share them; ZeRO shares moments, gradients and weights over data-parallel ones.
    """
    shares = [1 if zero_stage < stage else data_ranks for stage in (3, 2, 1)]
    return count / model_ranks * (4 / shares[0] + 4 / shares[1] + 8 / shares[2])


def _blocks(model: ModelConfig, tokens: int) -> float:
    return model.layers * flops.block_cost(model, Lengths(tokens), in_encoder=False)
