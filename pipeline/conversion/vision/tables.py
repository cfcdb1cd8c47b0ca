"""Which of our tensors of image models are which of transformers', and how their numbers lie there."""

from collections.abc import Iterator

from torch import Tensor

from pipeline.config import ModelConfig, PipelineConfig
from pipeline.config.vision import CHANNELS, VisionConfig
from pipeline.conversion.layouts import Change, first_rows, pieces
from pipeline.conversion.links import Link
from pipeline.costs.flops import padded_vocabulary
from pipeline.models.vision.patches import plane_sines

BOTH = ("weight", "bias")
Modules = dict[str, str | tuple[str, ...]]

VIT_BLOCK: Modules = {
    "attention_norm": "layernorm_before",
    "attention.qkv": tuple(f"attention.attention.{one}" for one in ("query", "key", "value")),
    "attention.output": "attention.output.dense",
    "mlp_norm": "layernorm_after",
    "mlp.up": "intermediate.dense",
    "mlp.down": "output.dense",
}
SWIN_BLOCK: Modules = VIT_BLOCK | {
    "attention.qkv": tuple(f"attention.self.{one}" for one in ("query", "key", "value")),
}
CLIP_BLOCK: Modules = {
    "attention_norm": "layer_norm1",
    "attention.qkv": tuple(f"self_attn.{one}_proj" for one in "qkv"),
    "attention.output": "self_attn.out_proj",
    "mlp_norm": "layer_norm2",
    "mlp.up": "mlp.fc1",
    "mlp.down": "mlp.fc2",
}


def reshaped(ours: tuple[int, ...], theirs: tuple[int, ...]) -> Change:
    """The same numbers with other dimensions."""
    return Change(lambda t: [t[0].reshape(theirs)], lambda t: [t[0].reshape(ours)])


def convolution(size: int) -> Change:
    """A patch's numbers in the order row, column, colour as a convolution has them: colour, row, column."""
    return Change(
        lambda t: [t[0].unflatten(1, (size, size, CHANNELS)).permute(0, 3, 1, 2).contiguous()],
        lambda t: [t[0].permute(0, 2, 3, 1).flatten(1)],
    )


def same(ours: str, theirs: str, kinds: tuple[str, ...] = BOTH) -> Iterator[Link]:
    """A module that is alike on both sides."""
    for kind in kinds:
        yield Link((f"{ours}.{kind}",), (f"{theirs}.{kind}",), ())


def blocks(ours: str, theirs: str, model: ModelConfig, names: Modules, first: int = 0) -> Iterator[Link]:
    """Every layer of a stack, of which `first` of ours come before."""
    cut = pieces(model.heads, (1, 1, 1))
    for number in range(model.layers):
        for own, there in names.items():
            modules = (there,) if isinstance(there, str) else there
            changes = () if isinstance(there, str) else (cut,)
            for kind in BOTH:
                named = tuple(f"{theirs}.{number}.{one}.{kind}" for one in modules)
                yield Link((f"{ours}.{first + number}.{own}.{kind}",), named, changes)


def vit_tower(vision: VisionConfig) -> Iterator[Link]:
    """ViT's and MAE's encoder."""
    start, width = "vit.embeddings", vision.hidden_size
    patches = f"{start}.patch_embeddings.projection"
    convolved = (convolution(vision.patch_size),)
    yield Link(("image.patches.linear.weight",), (f"{patches}.weight",), convolved)
    yield Link(("image.patches.linear.bias",), (f"{patches}.bias",), ())
    token = (reshaped((width,), (1, 1, width)),)
    yield Link(("image.positions.class_token",), (f"{start}.cls_token",), token)
    if vision.positions == "learned":
        table = (reshaped((vision.tokens, width), (1, vision.tokens, width)),)
        yield Link(("image.positions.weight",), (f"{start}.position_embeddings",), table)
    yield from blocks("image.blocks", "vit.encoder.layer", vision.blocks, VIT_BLOCK)
    yield from same("image.norm", "vit.layernorm")


def vit(config: PipelineConfig) -> Iterator[Link]:
    """A ViT with its classification head."""
    assert config.vision is not None
    yield from vit_tower(config.vision)
    yield from same("classifier.linear", "classifier")


def swin(config: PipelineConfig) -> Iterator[Link]:
    """A Swin with its classification head."""
    vision = config.vision
    assert vision is not None
    start, number = "swin.embeddings", 0
    patches = f"{start}.patch_embeddings.projection"
    convolved = (convolution(vision.patch_size),)
    yield Link(("image.patches.linear.weight",), (f"{patches}.weight",), convolved)
    yield Link(("image.patches.linear.bias",), (f"{patches}.bias",), ())
    yield from same("image.embedding_norm", f"{start}.norm")
    for stage, model in enumerate(vision.stages):
        there = f"swin.encoder.layers.{stage}"
        yield from blocks("image.blocks", f"{there}.blocks", model, SWIN_BLOCK, number)
        for place in range(model.layers):
            table = f"{there}.blocks.{place}.attention.self.relative_position_bias_table"
            yield Link((f"image.blocks.{number + place}.relative",), (table,), ())
        number += model.layers
        if stage + 1 < len(vision.stages):
            yield from same(f"image.merging.{stage}.norm", f"{there}.downsample.norm")
            yield from same(f"image.merging.{stage}.linear", f"{there}.downsample.reduction", ("weight",))
    yield from same("image.norm", "swin.layernorm")
    yield from same("classifier.linear", "classifier")


def mae(config: PipelineConfig) -> Iterator[Link]:
    """A masked autoencoder."""
    vision = config.vision
    assert vision is not None
    yield from vit_tower(vision)
    yield from same("decoder.start.linear", "decoder.decoder_embed")
    width = vision.decoder_hidden_size
    token = (reshaped((width,), (1, 1, width)),)
    yield Link(("decoder.start.mask_token",), ("decoder.mask_token",), token)
    yield from blocks("decoder.blocks", "decoder.decoder_layers", vision.decoder, VIT_BLOCK)
    yield from same("decoder.norm", "decoder.decoder_norm")
    yield from same("decoder.out.linear", "decoder.decoder_pred")


def fixed(config: PipelineConfig) -> dict[str, Tensor]:
    """What transformers keeps as tensors and we compute: tables of sines."""
    vision = config.vision
    assert vision is not None
    if vision.positions != "sinusoidal":
        return {}
    widths = {"vit.embeddings.position_embeddings": vision.hidden_size}
    if config.objective.kind == "masked_patches":
        widths["decoder.decoder_pos_embed"] = vision.decoder_hidden_size
    return {
        name: plane_sines(vision.side, width, vision.class_token).unsqueeze(0)
        for name, width in widths.items()
    }


def clip_start(vision: VisionConfig, prefix: str) -> Iterator[Link]:
    """What stands before the first layer of a CLIP's image tower."""
    start, convolved = f"{prefix}embeddings", (convolution(vision.patch_size),)
    yield Link(("image.patches.linear.weight",), (f"{start}.patch_embedding.weight",), convolved)
    yield Link(("image.positions.class_token",), (f"{start}.class_embedding",), ())
    yield Link(("image.positions.weight",), (f"{start}.position_embedding.weight",), ())
    yield from same("image.embedding_norm", f"{prefix}pre_layrnorm")


def clip(config: PipelineConfig, vocabulary_size: int) -> Iterator[Link]:
    """Both towers of a CLIP and what joins them."""
    vision, text = config.vision, config.model
    assert vision is not None
    yield from clip_start(vision, "vision_model.")
    yield from blocks("image.blocks", "vision_model.encoder.layers", vision.blocks, CLIP_BLOCK)
    yield from same("image.norm", "vision_model.post_layernorm")
    yield from same("image_projection.linear", "visual_projection", ("weight",))
    rows = (first_rows(vocabulary_size, padded_vocabulary(vocabulary_size)),)
    yield Link(("words.table.weight",), ("text_model.embeddings.token_embedding.weight",), rows)
    yield Link(("positions.weight",), ("text_model.embeddings.position_embedding.weight",), ())
    yield from blocks("blocks", "text_model.encoder.layers", text, CLIP_BLOCK)
    yield from same("norm", "text_model.final_layer_norm")
    yield from same("text_projection.linear", "text_projection", ("weight",))
    yield Link(("joined.log_scale",), ("logit_scale",), (reshaped((1,), ()),))
