"""An image model's checkpoint as a Hugging Face folder.

config.json  model.safetensors  preprocessor_config.json, and of a text tower the tokenizer's files
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.reading import read_json
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import CLASSES
from pipeline.config import PipelineConfig, VisionConfig
from pipeline.conversion import files
from pipeline.conversion.agreement import Say
from pipeline.conversion.links import exported
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.tokenizer import write_tokenizer
from pipeline.conversion.vision import agreement, tables
from pipeline.conversion.vision.choose import image_family_of
from pipeline.conversion.vision.family import ImageFamily, Said

PROCESSOR = "preprocessor_config.json"
BICUBIC = 3
"""Pillow's number of the filter."""


def export_images(
    checkpoint: Checkpoint, run: Path, config: PipelineConfig, out: Path, say: Say, average: bool
) -> dict[str, Any]:
    """Write the checkpoint of a run on images; returns what was written and shown.

    Raises `InputError` where transformers has no such class, or the two models do not agree.
    """
    said = said_in(run, config)
    family = image_family_of(config, said)
    ours = shapes(config, said.pieces)
    checkpoint.check_fits(ours)
    weight = partial(checkpoint.merged, average=average)
    links = family.links(config, said.pieces)
    assert {name for link in links for name in link.ours} == set(ours)
    with files.appearing(out) as folder:
        say(f"writing {family.class_name} to {out}")
        fixed = tables.fixed(config)
        files.write_tensors(
            folder, [*exported(links, weight), *fixed.items(), *family.unused(config).items()]
        )
        files.write_json(folder / files.CONFIG, family.write(config, said))
        assert config.vision is not None
        files.write_json(folder / PROCESSOR, processor(family, config.vision))
        if said.vocabulary:
            write_tokenizer(folder, said.vocabulary, config.position_table, say)
        read = files.Tensors(folder)
        for name, tensor in exported(links, weight):
            if not torch.equal(read[name], tensor):
                raise InputError(f"{out}: {name} does not come back as it was; nothing was written")
        say(f"{len(read.places)} tensors read back, every number equal")
        weights = ((name, weight(name)) for name in ours)
        shown = agreement.check(family, config, said, weights, folder, say)
    about = {"model_type": family.model_type, "class": family.class_name}
    return about | {"folder": str(out), "step": checkpoint.index.step} | shown


def said_in(run: Path, config: PipelineConfig) -> Said:
    """What a run says beside its configuration."""
    path = run / CLASSES
    labels = tuple(map(str, read_json(path))) if path.is_file() else ()
    return Said(labels, Vocabulary(run / TOKENIZER) if config.reads_text else None)


def processor(family: ImageFamily, vision: VisionConfig) -> dict[str, Any]:
    """How transformers makes of a picture what the model reads."""
    side = vision.image_size
    cut = family.processor == "CLIPImageProcessor"
    return {
        "image_processor_type": family.processor,
        "do_resize": True,
        "size": {"height": side, "width": side}
        if family.processor == "ViTImageProcessor"
        else {"shortest_edge": side},
        "resample": BICUBIC,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(vision.mean),
        "image_std": list(vision.std),
    } | ({"do_center_crop": True, "crop_size": side} if cut else {})
