"""Image models on both sides: ours with random weights, and transformers' with the same ones."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from pipeline.config import ModelConfig, ObjectiveConfig, PipelineConfig, VisionConfig
from pipeline.conversion.links import Link, exported
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.vision import llava, tables
from pipeline.models.initialize import draw
from pipeline.models.vision.pixels import normalised
from pipeline.objectives.batches import Batch
from pipeline.objectives.model import model_layers
from pipeline.objectives.vision.masked_patches import masks_of, wanted
from pipeline.parallel.stack import Stack

BATCH, CLASSES, VOCABULARY, LENGTH = 4, 7, 40, 9
IMAGE = VOCABULARY - 1
KINDS = {
    "swin": "image_classes",
    "vit": "image_classes",
    "mae": "masked_patches",
    "clip": "contrastive",
    "llava": "image_answers",
    "flamingo": "image_pages",
}
PRESETS = {"llava": "clip-tiny", "flamingo": "clip-tiny"}
IN_TEXT = ("llava", "flamingo")


CLASSIFY = ("vit", "swin")
LLAMA: dict[str, Any] = {
    "layers": 2,
    "hidden_size": 48,
    "heads": 4,
    "key_value_heads": 2,
    "feed_forward_size": 64,
    "activation": "swiglu",
    "norm": "rmsnorm",
    "positions": "rope",
    "bias": False,
    "tied_output": False,
}
LONG = 40
"""Tokens of a text with two images of 16 patches."""
PLACES = np.stack([np.r_[1:17, 20:36] + shift for shift in (0, 1, 2, 4)])


def config(name: str, **parallel: Any) -> PipelineConfig:
    """The recipe of a reference model."""
    more: dict[str, Any] = {"classes": CLASSES} if name in CLASSIFY else {}
    if name == "flamingo":
        more |= {"latents": 3, "resampler_layers": 2}
    text = {"layers": 2, "hidden_size": 32, "heads": 4, "activation": "quick_gelu", "max_positions": LENGTH}
    return PipelineConfig(
        name=name,
        vision=VisionConfig(preset=PRESETS.get(name, f"{name}-tiny"), **more),
        objective=ObjectiveConfig(kind=KINDS[name], pictures=2 if name in IN_TEXT else 1),  # type: ignore[arg-type]
        model=ModelConfig(**{"clip": text, "llava": LLAMA, "flamingo": LLAMA}.get(name, {})),
        data={"sequence_length": LONG if name in IN_TEXT else LENGTH},
        train={"micro_batch": BATCH, "global_batch": BATCH},
        parallel=parallel,
    )


def pixels(side: int = 16) -> np.ndarray:
    """Random bytes [B, Y, X, 3]."""
    return np.random.default_rng(3).integers(0, 256, (BATCH, side, side, 3), np.uint8)


NOISE = np.random.default_rng(4).random((BATCH, 16))


def batch(name: str) -> Batch:
    """A batch of a model's objective."""
    rng, vision = np.random.default_rng(5), config(name).vision
    assert vision is not None
    if name in CLASSIFY:
        classes = rng.integers(0, CLASSES, BATCH)
        ones = np.ones(BATCH, np.float32)
        return {
            "pixels": pixels(vision.image_size),
            "classes": classes,
            "other_classes": classes,
            "shares": ones,
            "weights": ones.copy(),
        }
    if name == "mae":
        masks = masks_of(NOISE, 4)
        return {
            "pixels": pixels(),
            "visible": masks.visible,
            "restore": masks.restore,
            "wanted": wanted(pixels(), vision, normalise=True),
            "patch_weights": masks.hidden,
        }
    if name == "llava":
        images = np.stack([pixels(), pixels()[::-1]], 1)
        words = rng.integers(2, VOCABULARY - 1, (BATCH, LONG + 1))
        np.put_along_axis(words, PLACES, IMAGE, 1)
        weights = (rng.random((BATCH, LONG)) < 0.5).astype(np.float32) * (words[:, 1:] != IMAGE)
        texts = {"tokens": words[:, :-1], "targets": words[:, 1:], "weights": weights}
        return texts | {"pixels": images, "image_places": PLACES}
    if name == "flamingo":
        images = np.stack([pixels(), pixels()[::-1]], 1)
        words = rng.integers(2, VOCABULARY - 1, (BATCH, LONG + 1))
        weights = (rng.random((BATCH, LONG)) < 0.5).astype(np.float32)
        last = (np.arange(LONG) >= [[2], [0], [5], [9]]).astype(np.int32)
        last += np.arange(LONG) >= [[20], [11], [39], [25]]
        texts = {"tokens": words[:, :-1], "targets": words[:, 1:], "weights": weights}
        return texts | {"pixels": images, "last_image": last}
    tokens = rng.integers(2, VOCABULARY - 1, (BATCH, LENGTH))
    last = np.array([8, 5, 3, 8])
    tokens[np.arange(BATCH), last] = VOCABULARY - 1
    return {"pixels": pixels(), "tokens": tokens, "last": last, "weights": np.ones(BATCH, np.float32)}


def links(name: str) -> list[Link]:
    """Ours and theirs."""
    given = config(name)
    if name == "clip":
        return list(tables.clip(given, VOCABULARY))
    if name == "llava":
        return llava.links(given, VOCABULARY)
    return list({"vit": tables.vit, "swin": tables.swin, "mae": tables.mae}[name](given))


def weight(path: str, shape: torch.Size) -> Tensor:
    """The whole weight of this path, the same in every layout; norms and biases are drawn too."""
    if path.endswith("log_scale"):
        return torch.full(shape, 1.7)
    if path.endswith("_gate"):
        return torch.full(shape, 0.6)  # closed, they would hide what they multiply
    drawn = draw(path, 0, shape, 0.1)
    return drawn + 1 if "norm" in path and path.endswith("weight") else drawn


def weights(name: str) -> dict[str, Tensor]:
    """Every whole weight of a model by its path."""
    found = shapes(config(name), VOCABULARY if name in ("clip", *IN_TEXT) else 0)
    return {path: weight(path, torch.Size(shape)) for path, shape in found.items()}


IN_MEMORY = (
    ("vision_tower.vision_model.", "model.vision_tower."),
    ("multi_modal_projector.", "model.multi_modal_projector."),
    ("language_model.model.", "model.language_model."),
    ("language_model.lm_head.", "lm_head."),
    (".attention.self.query.", ".attention.q_proj."),
    (".attention.self.key.", ".attention.k_proj."),
    (".attention.self.value.", ".attention.v_proj."),
    (".attention.self.relative", ".attention.relative_position_bias.relative"),
    ("vit.encoder.layer.", "vit.layers."),
    (".attention.attention.query.", ".attention.q_proj."),
    (".attention.attention.key.", ".attention.k_proj."),
    (".attention.attention.value.", ".attention.v_proj."),
    (".attention.output.dense.", ".attention.o_proj."),
    (".intermediate.dense.", ".mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),
)


def named_there(path: str) -> str:
    """The name in memory of a tensor of files."""
    for before, after in IN_MEMORY:
        path = path.replace(before, after)
    return path


def ours_alone(name: str) -> Any:
    """Our model in one process."""
    stack = Stack(model_layers(config(name), VOCABULARY, torch.float32))
    with torch.no_grad():
        for path, parameter in stack.named():
            parameter.copy_(weight(path, parameter.shape))
    return stack


def reference(name: str) -> Any:
    """Transformers' model with the weights of ours; of Flamingo, which it has not, ours."""
    given = config(name)
    if name == "flamingo":
        return ours_alone(name)
    vision = given.vision
    assert vision is not None
    sizes = {
        "hidden_size": vision.hidden_size,
        "num_hidden_layers": vision.layers,
        "num_attention_heads": vision.heads,
        "intermediate_size": vision.blocks.mlp_size,
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "layer_norm_eps": vision.norm_epsilon,
    }
    make: dict[str, Callable[[], Any]] = {
        "vit": lambda: transformers.ViTForImageClassification(
            transformers.ViTConfig(num_labels=CLASSES, **sizes)
        ),
        "swin": lambda: transformers.SwinForImageClassification(_swin(vision)),
        "mae": lambda: transformers.ViTMAEForPreTraining(
            transformers.ViTMAEConfig(
                **sizes,
                decoder_hidden_size=vision.decoder_hidden_size,
                decoder_num_hidden_layers=vision.decoder_layers,
                decoder_num_attention_heads=vision.decoder_heads,
                decoder_intermediate_size=4 * vision.decoder_hidden_size,
                norm_pix_loss=True,
            )
        ),
        "clip": lambda: transformers.CLIPModel(_clip(given, sizes)),
        "llava": lambda: transformers.LlavaForConditionalGeneration(_llava(given, sizes)),
    }
    model = make[name]().eval()
    there = {named_there(path): one for path, one in exported(links(name), weights(name).__getitem__)}
    there |= tables.fixed(given)
    if name == "llava":
        there |= {named_there(path): one for path, one in llava.unused(given).items()}
    missing, unexpected = model.load_state_dict(there, strict=False)
    assert not unexpected
    assert not missing
    return model


def _swin(vision: VisionConfig) -> Any:
    return transformers.SwinConfig(
        image_size=vision.image_size,
        patch_size=vision.patch_size,
        embed_dim=vision.hidden_size,
        depths=list(vision.depths),
        num_heads=list(vision.stage_heads),
        window_size=vision.window,
        layer_norm_eps=vision.norm_epsilon,
        num_labels=CLASSES,
        drop_path_rate=0.0,
    )


def _clip(given: PipelineConfig, sizes: dict[str, Any]) -> Any:
    text, vision = given.model, given.vision
    assert vision is not None
    return transformers.CLIPConfig(
        vision_config=sizes,
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": text.hidden_size,
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "intermediate_size": text.mlp_size,
            "max_position_embeddings": LENGTH,
            "eos_token_id": VOCABULARY - 1,
            "bos_token_id": 0,
            "pad_token_id": 1,
        },
        projection_dim=vision.joint_size,
    )


def _llava(given: PipelineConfig, sizes: dict[str, Any]) -> Any:
    text = given.model
    return transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**sizes),
        text_config=transformers.LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=text.hidden_size,
            num_hidden_layers=text.layers,
            num_attention_heads=text.heads,
            num_key_value_heads=text.kv_heads,
            intermediate_size=text.mlp_size,
            rms_norm_eps=text.norm_epsilon,
        ),
        image_token_index=IMAGE,
    )


def weighted(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of cross-entropies."""
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    return (losses * weights).sum() / weights.sum()


def theirs(name: str, model: Any) -> tuple[Tensor, Tensor]:
    """What transformers' model says of the batch, and its loss."""
    vision, given = config(name).vision, batch(name)
    assert vision is not None
    if name == "flamingo":
        tensors = {key: torch.from_numpy(array) for key, array in given.items()}
        logits = model(tensors)["logits"].transpose(0, 1)[..., :VOCABULARY]
        return logits, weighted(logits, tensors["targets"], tensors["weights"])
    values = normalised(torch.from_numpy(given["pixels"]).flatten(0, -4), vision).permute(0, 3, 1, 2)
    if name == "llava":
        tokens, targets = (torch.from_numpy(given[one]).long() for one in ("tokens", "targets"))
        weights = torch.from_numpy(given["weights"])
        logits = model(pixel_values=values, input_ids=tokens).logits
        return logits, weighted(logits, targets, weights)
    if name in CLASSIFY:
        found = model(pixel_values=values, labels=torch.from_numpy(given["classes"]))
        return found.logits, found.loss
    if name == "mae":
        found = model(pixel_values=values, noise=torch.from_numpy(NOISE))
        return found.logits, found.loss
    found = model(pixel_values=values, input_ids=torch.from_numpy(given["tokens"]), return_loss=True)
    return torch.cat((found.image_embeds, found.text_embeds), 1), found.loss


def gradients_by_ours(name: str, ours: dict[str, Tensor], model: Any) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each parameter's gradient on both sides, as theirs lie."""
    if name == "flamingo":
        yield from ((path, ours[path], one.grad) for path, one in model.named())
        return
    there = {path: one.grad for path, one in model.named_parameters()}
    for link in links(name):
        found = link.out([ours[one] for one in link.ours])
        for path, gradient in zip(link.theirs, found, strict=True):
            yield path, gradient, there[named_there(path)]
