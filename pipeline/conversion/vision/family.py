"""What a family of image models is called in a Hugging Face folder: its class, configuration and tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from data_prep.contract.problems import first_problem
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import ModelConfig, ObjectiveConfig, PipelineConfig, VisionConfig
from pipeline.config.vision_presets import CLIP_PIXELS, IMAGENET, SWIN
from pipeline.conversion.family import shown, whole
from pipeline.conversion.links import Link
from pipeline.conversion.vision import tables

ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "quick_gelu": "quick_gelu"}
Keys = Mapping[str, tuple[str, Any]]
"""Our keys to theirs, with what theirs mean where they are left out."""

SIZES: Keys = {
    "layers": ("num_hidden_layers", 12),
    "hidden_size": ("hidden_size", 768),
    "heads": ("num_attention_heads", 12),
    "feed_forward_size": ("intermediate_size", 3072),
    "image_size": ("image_size", 224),
    "patch_size": ("patch_size", 16),
    "activation": ("hidden_act", "gelu"),
    "norm_epsilon": ("layer_norm_eps", 1e-12),
}
DECODER: Keys = {
    "decoder_layers": ("decoder_num_hidden_layers", 8),
    "decoder_hidden_size": ("decoder_hidden_size", 512),
    "decoder_heads": ("decoder_num_attention_heads", 16),
}
STAGES: Keys = {
    "hidden_size": ("embed_dim", 96),
    "window": ("window_size", 7),
    "image_size": ("image_size", 224),
    "patch_size": ("patch_size", 4),
    "activation": ("hidden_act", "gelu"),
    "norm_epsilon": ("layer_norm_eps", 1e-5),
}
CLIP_SIZES: Keys = {
    **SIZES,
    "patch_size": ("patch_size", 32),
    "activation": ("hidden_act", "quick_gelu"),
    "norm_epsilon": ("layer_norm_eps", 1e-5),
}
TEXT_SIZES: Keys = {
    **{name: CLIP_SIZES[name] for name in ("layers", "activation", "norm_epsilon")},
    "hidden_size": ("hidden_size", 512),
    "heads": ("num_attention_heads", 8),
    "feed_forward_size": ("intermediate_size", 2048),
    "max_positions": ("max_position_embeddings", 77),
}
FREE = {
    *("preset", "dropout", "attention_dropout", "stochastic_depth", "initial_std", "initialization", "mean"),
    *("std", "classes", "joint_size", "decoder_layers", "decoder_hidden_size", "decoder_heads", "answers"),
    *("context_length", "tied_output", "language_head", "mimetic"),
}
"""Keys that change nothing that a folder has to say, or that are written beside it."""


@dataclass(frozen=True)
class Said:
    """What a folder says beside the shape of its towers."""

    labels: tuple[str, ...] = ()
    """Classes in the order of their numbers."""
    vocabulary: Vocabulary | None = None
    """The tokenizer of a text tower."""

    @property
    def pieces(self) -> int:
        """Tokens that there are."""
        return self.vocabulary.size if self.vocabulary else 0


@dataclass(frozen=True)
class ImageFamily:
    """One class of transformers."""

    model_type: str
    """Its name in config.json."""
    class_name: str
    """The class that has all of it."""
    objective: str
    """What a run of ours learns that is one."""
    vision: Mapping[str, Any]
    """Values of our `vision` section that it always has, where they differ from the defaults."""
    free: frozenset[str]
    """Keys of that section that it can have any value of, and says none."""
    keys: Keys
    links: Callable[[PipelineConfig, int], list[Link]]
    processor: str
    """The class that makes of a picture what the model reads."""
    ignored: tuple[str, ...] = ()
    """How names begin of tensors that we have no use for."""
    computed: tuple[str, ...] = ()
    """How names end of tensors that only hold what is computed."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Parts of names as some versions of transformers write them, and as they are published."""
    unused: Callable[[PipelineConfig], dict[str, Tensor]] = lambda config: {}
    """Tensors that a folder has to have, and that are not read."""

    def rows(self, theirs: dict[str, Any], pieces: int, place: str) -> int:
        """Rows of their word table, for a tokenizer of so many pieces."""
        del theirs, place
        return pieces

    def write(self, config: PipelineConfig, said: Said) -> dict[str, Any]:
        """Their configuration."""
        vision = _vision(config)
        found: dict[str, Any] = {"architectures": [self.class_name], "model_type": self.model_type}
        found["dtype"] = "float32"
        own = written(self.keys, vision.model_dump() | {"feed_forward_size": vision.blocks.mlp_size})
        if self.objective == "contrastive":
            return found | _write_pair(config, said, own)
        found |= own | {"num_channels": 3, "qkv_bias": True, "hidden_dropout_prob": vision.dropout}
        if vision.architecture == "swin":
            stages = {"depths": list(vision.depths), "num_heads": list(vision.stage_heads)}
            found |= stages | {"mlp_ratio": 4.0, "drop_path_rate": vision.stochastic_depth}
        if self.objective == "masked_patches":
            objective = config.objective
            return found | {
                "decoder_intermediate_size": 4 * vision.decoder_hidden_size,
                "mask_ratio": objective.density,
                "norm_pix_loss": objective.normalised_patches,
            }
        names = said.labels or tuple(f"LABEL_{number}" for number in range(vision.classes or 0))
        return found | {
            "id2label": dict(enumerate(names)),
            "label2id": {name: number for number, name in enumerate(names)},
        }

    def read(
        self, theirs: dict[str, Any], name: str, place: str, colours: Mapping[str, Any]
    ) -> PipelineConfig:
        """A run's configuration. `InputError` where theirs has what we have not."""
        try:
            if self.objective == "contrastive":
                return _read_pair(self, theirs, name, place, colours)
            values = dict(self.vision) | dict(colours) | read(self.keys, theirs, place)
            kind: dict[str, Any] = {"kind": self.objective}
            if self.objective == "masked_patches":
                same_value(theirs, "decoder_intermediate_size", 4 * values["decoder_hidden_size"], place)
                kind |= {
                    "noise_density": theirs.get("mask_ratio", 0.75),
                    "normalised_patches": bool(theirs.get("norm_pix_loss", False)),
                }
            else:
                values |= _stages(theirs, place) if self.model_type == "swin" else {}
                labels = theirs.get("id2label")
                values["classes"] = len(labels) if isinstance(labels, dict) else theirs.get("num_labels", 2)
            same_value(theirs, "num_channels", 3, place)
            same_value(theirs, "qkv_bias", True, place)
            return PipelineConfig(name=name, vision=VisionConfig(**values), objective=ObjectiveConfig(**kind))
        except ValidationError as error:
            problem = first_problem(error)
            raise InputError(f"{place}: {problem.key} is {shown(problem.value)}; {problem.message}") from None


def _vision(config: PipelineConfig) -> VisionConfig:
    assert config.vision is not None
    return config.vision


def written(keys: Keys, ours: Mapping[str, Any]) -> dict[str, Any]:
    """Values of theirs."""
    return {
        theirs: ACTIVATIONS[ours[name]] if name == "activation" else ours[name]
        for name, (theirs, _) in keys.items()
    }


def read(keys: Keys, theirs: dict[str, Any], place: str) -> dict[str, Any]:
    """Values of ours. `InputError` for one that is none."""
    found = {}
    for name, (called, default) in keys.items():
        value = theirs.get(called, default)
        if name == "activation":
            words = {word: ours for ours, word in ACTIVATIONS.items()}
            if not isinstance(value, str) or value not in words:
                raise InputError(f"{place}: {called} {shown(value)} is not supported; {', '.join(words)} are")
            value = words[value]
        elif name != "norm_epsilon":
            value = whole(place, called, value, 1, 1 << 20)
        found[name] = value
    return found


def _stages(theirs: dict[str, Any], place: str) -> dict[str, Any]:
    """A Swin's stages."""
    same_value(theirs, "mlp_ratio", 4.0, place)
    same_value(theirs, "use_absolute_embeddings", False, place)
    found = {}
    for ours, (called, default) in {
        "depths": ("depths", [2, 2, 6, 2]),
        "stage_heads": ("num_heads", [3, 6, 12, 24]),
    }.items():
        value = theirs.get(called, default)
        if not isinstance(value, list) or not 1 <= len(value) <= 16:
            raise InputError(f"{place}: {called} is {shown(value)}; a list of a number a stage is expected")
        found[ours] = tuple(whole(place, called, one, 1, 1 << 16) for one in value)
    return found


def same_value(theirs: dict[str, Any], name: str, wanted: Any, place: str) -> None:
    """`InputError` where theirs says something else than what we have."""
    if theirs.get(name, wanted) != wanted:
        raise InputError(f"{place}: {name} {shown(theirs[name])} is not supported; {wanted} is")


def _write_pair(config: PipelineConfig, said: Said, vision: dict[str, Any]) -> dict[str, Any]:
    model, words = config.model, said.vocabulary
    assert words is not None
    sizes = model.model_dump() | {
        "feed_forward_size": model.mlp_size,
        "max_positions": config.position_table,
    }
    ids = {"pad_token_id": words.pad, "bos_token_id": words.bos, "eos_token_id": words.eos}
    text = written(TEXT_SIZES, sizes) | {"vocab_size": words.size, "model_type": "clip_text_model"} | ids
    joint = {"projection_dim": _vision(config).joint_size}
    return {
        "text_config": text | joint,
        "vision_config": vision | {"model_type": "clip_vision_model"} | joint,
        **joint,
    }


def _read_pair(
    family: ImageFamily, theirs: dict[str, Any], name: str, place: str, colours: Mapping[str, Any]
) -> PipelineConfig:
    towers = {part: theirs.get(f"{part}_config") for part in ("text", "vision")}
    for part, about in towers.items():
        if not isinstance(about, dict):
            raise InputError(f"{place}: {part}_config is {shown(about)}; a mapping is expected")
    joint = whole(place, "projection_dim", theirs.get("projection_dim", 512), 1, 1 << 20)
    values = dict(family.vision) | dict(colours) | read(family.keys, towers["vision"], place)  # type: ignore[arg-type]
    text = read(TEXT_SIZES, towers["text"], place)  # type: ignore[arg-type]
    return PipelineConfig(
        name=name,
        vision=VisionConfig(**values, joint_size=joint),
        model=ModelConfig(**text),
        objective=ObjectiveConfig(kind="contrastive"),
        data={"sequence_length": text["max_positions"]},
    )


SINES = {"positions": "sinusoidal"}
VIT = ImageFamily(
    "vit",
    "ViTForImageClassification",
    "image_classes",
    {},
    frozenset({"positions"}),
    SIZES,
    lambda config, pieces: list(tables.vit(config)),
    "ViTImageProcessor",
    ignored=("vit.pooler.",),
)
SWIN_TOWER = {name: SWIN[name] for name in ("architecture", "class_token", "pooling", "positions")}
SWINS = ImageFamily(
    "swin",
    "SwinForImageClassification",
    "image_classes",
    SWIN_TOWER | {"embedding_norm": True, **IMAGENET},
    frozenset({"layers", "heads", "feed_forward_size"}),
    STAGES,
    lambda config, pieces: list(tables.swin(config)),
    "ViTImageProcessor",
    ignored=("swin.pooler.",),
    computed=(".relative_position_index",),
)
MAE = ImageFamily(
    "vit_mae",
    "ViTMAEForPreTraining",
    "masked_patches",
    SINES | IMAGENET,
    frozenset(),
    {**SIZES, **DECODER},
    lambda config, pieces: list(tables.mae(config)),
    "ViTImageProcessor",
    renamed=(("decoder.decoder_encoder.layer.", "decoder.decoder_layers."),),
)
CLIP = ImageFamily(
    "clip",
    "CLIPModel",
    "contrastive",
    {"embedding_norm": True, "patch_bias": False, **CLIP_PIXELS},
    frozenset(),
    CLIP_SIZES,
    lambda config, pieces: list(tables.clip(config, pieces)),
    "CLIPImageProcessor",
    ignored=("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"),
)


def filled(section: VisionConfig | ModelConfig) -> dict[str, Any]:
    """A section's values with the defaults that follow from others."""
    mlp = section.mlp_size if isinstance(section, ModelConfig) else section.blocks.mlp_size
    found = section.model_dump() | {"feed_forward_size": mlp}
    if isinstance(section, ModelConfig):
        found |= {"max_positions": 0, "key_value_heads": section.kv_heads, "head_size": section.head_width}
    return found
