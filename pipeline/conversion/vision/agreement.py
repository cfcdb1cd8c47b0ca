"""The proof of a conversion of an image model: both models on the same pixels, in one process."""

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_prep.contract.reading import printable
from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig
from pipeline.config.objective import IN_TEXT
from pipeline.conversion.agreement import TOLERANCE, Say
from pipeline.conversion.vision.family import ImageFamily, Said
from pipeline.costs.vision import visible_patches
from pipeline.distributed import world
from pipeline.models.vision.pixels import normalised
from pipeline.objectives.model import model_layers
from pipeline.objectives.vision.answers import image_token
from pipeline.objectives.vision.masked_patches import masks_of
from pipeline.parallel.stack import Stack

IMAGES, WORDS = 3, 8
"""Images, and words beside the images of a text."""


def inputs(config: PipelineConfig, said: Said) -> tuple[dict[str, Tensor], Tensor]:
    """A batch of random pixels, and of texts where there is a tower for them; the noise of a masked one."""
    vision = config.vision
    assert vision is not None
    generator = torch.Generator().manual_seed(config.seed % (1 << 62))
    if config.objective.kind in IN_TEXT:
        return inputs_in_text(config, said, generator), torch.zeros(0)
    side = (IMAGES, vision.image_size, vision.image_size, 3)
    found = {"pixels": torch.randint(0, 256, side, generator=generator, dtype=torch.uint8)}
    noise = torch.rand(IMAGES, vision.patches, generator=generator, dtype=torch.float64)
    if config.objective.kind == "masked_patches":
        masks = masks_of(noise.numpy(), visible_patches(vision, config.objective.density))
        found |= {"visible": torch.from_numpy(masks.visible), "restore": torch.from_numpy(masks.restore)}
    if said.vocabulary:
        words, length = said.vocabulary, config.data.sequence_length
        known = torch.tensor([one for one in range(words.size) if one not in words.reserved])
        chosen = torch.randint(len(known), (IMAGES, length), generator=generator)
        last = torch.tensor([length - 1, length // 2, length - 1])
        tokens = known[chosen].scatter(1, last.unsqueeze(1), words.eos)
        found |= {"tokens": tokens, "last": last}
    return found, noise


def inputs_in_text(config: PipelineConfig, said: Said, generator: torch.Generator) -> dict[str, Tensor]:
    """Texts with two images each, or one where no more fit, at other places in each; words between them."""
    vision, words = config.vision, said.vocabulary
    assert vision is not None
    assert words is not None
    images = 2 if config.data.sequence_length >= 2 * vision.patches + WORDS else 1
    length = min(config.data.sequence_length, images * vision.patches + WORDS)
    known = torch.tensor([one for one in range(words.size) if one not in words.reserved])
    tokens = known[torch.randint(len(known), (IMAGES, length), generator=generator)]
    shifts = torch.arange(IMAGES).unsqueeze(1) % (length - images * vision.patches + 1)
    patches = torch.arange(images * vision.patches)
    places = shifts + patches + (patches >= vision.patches) * (shifts < length - len(patches))
    tokens.scatter_(1, places, image_token(words))
    side = (IMAGES, images, vision.image_size, vision.image_size, 3)
    pixels = torch.randint(0, 256, side, generator=generator, dtype=torch.uint8)
    return {"tokens": tokens, "pixels": pixels, "image_places": places}


def ours(config: PipelineConfig, said: Said, weights: Iterable[tuple[str, Tensor]]) -> Stack:
    """Our model of these weights."""
    world.start_alone(config.seed)
    stack = Stack(model_layers(config, said.pieces, torch.float32)).eval()
    named = dict(stack.named())
    with torch.no_grad():
        for name, weight in weights:
            named[name].copy_(weight)
    return stack


@torch.inference_mode()
def said_by_ours(stack: Stack, batch: dict[str, Tensor]) -> Tensor:
    """What our model says: scores, restored patches, or both kinds of features."""
    found = stack(dict(batch))
    if "logits" in found:
        return found["logits"].transpose(0, 1)
    if "restored" in found:
        return found["restored"].transpose(0, 1)
    if "scores" in found:
        return found["scores"]
    return torch.cat((found["image_features"], found["text_features"]), 1)


@torch.inference_mode()
def said_by_theirs(
    family: ImageFamily, config: PipelineConfig, folder: Path, batch: dict[str, Tensor], noise: Tensor
) -> Tensor:
    """The same of transformers' model of a folder, which has to have all its weights."""
    transformers: Any = import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    try:
        model, report = getattr(transformers, family.class_name).from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, local_files_only=True
        )
    except Exception as error:  # whatever a configuration makes it raise
        problem = printable(" ".join(str(error).split()))[:300]
        raise InputError(
            f"{folder}: transformers cannot load it ({type(error).__name__}: {problem})"
        ) from None
    for problem in ("missing_keys", "mismatched_keys"):
        if report[problem]:
            raise InputError(f"{folder}: transformers finds {problem} {sorted(report[problem])}")
    assert config.vision is not None
    values = normalised(batch["pixels"].flatten(0, -4), config.vision).permute(0, 3, 1, 2)
    model.eval()
    if config.objective.kind in IN_TEXT:
        return model(pixel_values=values, input_ids=batch["tokens"]).logits
    if config.objective.kind == "masked_patches":
        return model(pixel_values=values, noise=noise).logits
    if config.objective.kind == "image_classes":
        return model(pixel_values=values).logits
    found = model(pixel_values=values, input_ids=batch["tokens"])
    return torch.cat((found.image_embeds, found.text_embeds), 1)


def check(
    family: ImageFamily,
    config: PipelineConfig,
    said: Said,
    weights: Iterable[tuple[str, Tensor]],
    folder: Path,
    say: Say,
) -> dict[str, Any]:
    """`InputError` where the two models differ by more than `pipeline.conversion.agreement` allows."""
    if find_spec("transformers") is None:
        say("transformers is not installed: the two models were not run side by side")
        return {"compared_with": "numbers alone"}
    batch, noise = inputs(config, said)
    found = said_by_ours(ours(config, said, weights), batch)
    wanted = said_by_theirs(family, config, folder, batch, noise)
    if config.objective.kind in IN_TEXT:  # rows of no token fill up word tables
        found, wanted = found[..., : said.pieces], wanted[..., : said.pieces]
    difference = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30))
    if not difference <= TOLERANCE:
        raise InputError(
            f"{folder}: what the two models say differs by {difference:.1e} of the largest; the "
            "conversion is wrong and nothing was written"
        )
    say(f"both models on one batch (transformers): largest difference {difference:.1e} of the largest value")
    return {"compared_with": "transformers", "difference": difference}
