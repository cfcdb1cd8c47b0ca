"""LLaVA's folders: a CLIP's image tower, a projector, a decoder of a family whose words are `embed_tokens`.

The last layer of the tower and the norm behind it are in such a folder and are of no use to the model, which
reads the last but one: they are written as zeros and ones, and not read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from data_prep.contract.settings import InputError
from pipeline.config import DataConfig, ModelConfig, ObjectiveConfig, PipelineConfig, VisionConfig
from pipeline.config.vision_presets import CLIP_PIXELS
from pipeline.conversion.choose import family_named, family_of
from pipeline.conversion.family import Facts, shown, whole
from pipeline.conversion.links import Link
from pipeline.conversion.links import links as text_links
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.vision import tables
from pipeline.conversion.vision.family import CLIP_SIZES, ImageFamily, Said, read, same_value, written
from pipeline.models.vision.in_text import PROJECTOR
from pipeline.models.vision.tower import TOWER
from pipeline.objectives.vision.answers import image_token

TEXT, VISION, BETWEEN = "language_model.", "vision_tower.vision_model.", "multi_modal_projector."
ALWAYS = {
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
    "projector_hidden_act": "gelu",
    "multimodal_projector_bias": True,
}
"""Values of theirs that we have; others are refused."""
WORDS = "embed_tokens"
"""What transformers' class of it looks for in the decoder."""


class Llava(ImageFamily):
    """One class of transformers, of two models in one."""

    def rows(self, theirs: dict[str, Any], pieces: int, place: str) -> int:
        """Rows of the decoder's word table, of which there may be more. `InputError` for fewer."""
        return whole(
            place, "text_config.vocab_size", theirs["text_config"].get("vocab_size", 32_000), pieces, 1 << 24
        )

    def write(self, config: PipelineConfig, said: Said) -> dict[str, Any]:
        """Their configuration. `InputError` where the decoder is of no family that it could be of."""
        vision, words = config.vision, said.vocabulary
        assert vision is not None
        assert words is not None
        if config.objective.blind:
            raise InputError(
                "a model whose pictures are withheld has no image tower to export; a seeing one has"
            )
        sizes = vision.model_dump() | {"feed_forward_size": vision.blocks.mlp_size}
        facts = facts_of(config, words.size, (words.pad, words.bos, words.eos))
        text = family_of(config.model, facts)
        if WORDS not in str(text.table(config.model)["words.table"]):
            raise InputError(
                f"{self.class_name} has no decoder like {text.model_type}; it takes one like llama's, with "
                "rotary positions"
            )
        joint = {"projection_dim": vision.joint_size or vision.hidden_size}
        return {
            "architectures": [self.class_name],
            "model_type": self.model_type,
            "dtype": "float32",
            "image_token_index": image_token(words),
            "image_seq_length": vision.patches,
            "tie_word_embeddings": config.model.tied_output,
            **ALWAYS,
            "vision_config": written(self.keys, sizes) | {"model_type": "clip_vision_model"} | joint,
            "text_config": text.write(config.model, facts),
        }

    def read(
        self, theirs: dict[str, Any], name: str, place: str, colours: Mapping[str, Any]
    ) -> PipelineConfig:
        """A run's configuration. `InputError` where theirs has what we have not."""
        towers = {part: theirs.get(f"{part}_config") for part in ("text", "vision")}
        for part, about in towers.items():
            if not isinstance(about, dict):
                raise InputError(f"{place}: {part}_config is {shown(about)}; a mapping is expected")
        for key, value in ALWAYS.items():
            same_value(theirs, key, value, place)
        text, vision = towers["text"], towers["vision"]
        assert text is not None
        assert vision is not None
        same_value(vision, "model_type", "clip_vision_model", place)
        family = family_named(text, place)
        positions = whole(place, family.positions_key, text.get(family.positions_key, 2048), 1, 1 << 31)
        tied = bool(text.get("tie_word_embeddings", theirs.get("tie_word_embeddings", False)))
        model = family.read(text, place) | {"tied_output": tied, "context_length": positions, "answers": True}
        return PipelineConfig(
            name=name,
            vision=VisionConfig(**dict(self.vision) | dict(colours) | read(self.keys, vision, place)),
            model=ModelConfig(**model),
            objective=ObjectiveConfig(kind="image_answers"),
            data=DataConfig(sequence_length=positions),
        )


def facts_of(config: PipelineConfig, pieces: int, ids: tuple[int, int, int] = (0, 0, 0)) -> Facts:
    """What the decoder's part of a folder says beside its shape."""
    positions = config.position_table if config.model.positions == "learned" else config.context_length
    return Facts(pieces, *ids, positions=positions)


def links(config: PipelineConfig, pieces: int) -> list[Link]:
    """Ours and theirs."""
    vision = config.vision
    assert vision is not None
    ours = shapes(config, pieces)
    text = [name for name in ours if not name.startswith((TOWER, f"{PROJECTOR}."))]
    facts = facts_of(config, pieces)
    decoder = [
        replace(link, theirs=tuple(f"{TEXT}{name}" for name in link.theirs))
        for link in text_links(family_of(config.model, facts), config.model, facts, text)
    ]
    return [*seen(vision), *projected(), *decoder]


def seen(vision: VisionConfig) -> Iterator[Link]:
    """The tower's layers that are of use."""
    used = vision.blocks.model_copy(update={"layers": vision.layers - 1})
    yield from tables.clip_start(vision, VISION)
    yield from tables.blocks("image.blocks", f"{VISION}encoder.layers", used, tables.CLIP_BLOCK)


def projected() -> Iterator[Link]:
    """The projector."""
    for ours, theirs in (("up", "linear_1"), ("out", "linear_2")):
        yield from tables.same(f"{PROJECTOR}.{ours}", f"{BETWEEN}{theirs}")


def unused(config: PipelineConfig) -> dict[str, Tensor]:
    """What a folder has and the model does not read: the tower's last layer, as one that adds nothing, and a
    norm."""
    vision = config.vision
    assert vision is not None
    width, inner = vision.hidden_size, vision.blocks.mlp_size
    last, norm = f"{VISION}encoder.layers.{vision.layers - 1}.", f"{VISION}post_layernorm"
    found: dict[str, Tensor] = {}
    for name in (f"{last}layer_norm1", f"{last}layer_norm2", norm):
        found |= {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}
    square = [f"self_attn.{one}_proj" for one in ("q", "k", "v", "out")]
    sizes = dict.fromkeys(square, (width, width)) | {"mlp.fc1": (inner, width), "mlp.fc2": (width, inner)}
    for name, (outputs, inputs) in sizes.items():
        found[f"{last}{name}.weight"] = torch.zeros(outputs, inputs)
        found[f"{last}{name}.bias"] = torch.zeros(outputs)
    return found


LLAVA = Llava(
    "llava",
    "LlavaForConditionalGeneration",
    "image_answers",
    {"embedding_norm": True, "patch_bias": False, **CLIP_PIXELS},
    frozenset({"pooling"}),
    CLIP_SIZES,
    links,
    "CLIPImageProcessor",
    ignored=(f"{VISION}embeddings.position_ids",),
    renamed=(
        ("vision_tower.vision_model.", "vision_tower."),
        ("vision_tower.", VISION),
    ),
    unused=unused,
)
