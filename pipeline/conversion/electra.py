"""ELECTRA's two models as two folders: the discriminator, and inside it the generator.

OUT/            ElectraForPreTraining, which is fine-tuned
OUT/generator/  ElectraForMaskedLM
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig
from pipeline.conversion import agreement, files
from pipeline.conversion.agreement import Run, Say
from pipeline.conversion.families.encoders import ELECTRA
from pipeline.conversion.family import Facts
from pipeline.conversion.links import Weights, exported, links
from pipeline.conversion.reading import Found, read_folder
from pipeline.conversion.skeleton import shapes
from pipeline.objectives.replacing import discriminator

GENERATOR = "generator"
"""The folder of the generator within that of the discriminator."""
DISCRIMINATOR = replace(
    ELECTRA,
    classes=("ElectraForPreTraining",),
    table=lambda model: (
        ELECTRA.table(model)
        | {
            "discriminator.dense": "discriminator_predictions.dense",
            "discriminator.out": "discriminator_predictions.dense_prediction",
        }
    ),
)
"""The family with the head that says of tokens whether they were replaced."""


def write_discriminator(
    folder: Path, config: PipelineConfig, facts: Facts, weight: Weights, say: Say
) -> dict[str, Any]:
    """Write the discriminator's weights and configuration; returns what was shown of them.

    `InputError` where transformers' model of the folder is not the same.
    """
    ours = shapes(config, facts.vocabulary_size, discriminator)
    the_links = links(DISCRIMINATOR, config.model, facts, ours)
    files.write_tensors(folder, exported(the_links, weight))
    files.write_json(folder / files.CONFIG, DISCRIMINATOR.write(config.model, facts))
    source = files.Tensors(folder)
    for name, tensor in exported(the_links, weight):
        if not torch.equal(source[name], tensor):
            raise InputError(f"{folder}: {name} does not come back as it was; nothing was written")
    say(f"{len(source.places)} tensors read back, every number equal")
    parameters = sum(torch.Size(one).numel() for one in ours.values())
    told = {"tensors": len(source.places), "parameters": parameters}
    if not agreement.fits(parameters):
        say("two of these models do not fit into memory, so they were not run side by side")
        return told | {"compared_with": "numbers alone"}
    reference = _theirs(read_folder(folder, facts.vocabulary_size, config.name))
    if reference is None:
        say("transformers is not installed: the two models were not run side by side")
        return told | {"compared_with": "numbers alone"}
    weights = ((name, weight(name)) for name in ours)
    original = agreement.ours(config, facts.vocabulary_size, weights, discriminator)
    inputs = agreement.batch(config, facts.vocabulary_size)
    worst = agreement.compare(original, reference, inputs, str(folder))
    say(f"both models on one batch (transformers): largest difference {worst:.1e} of the largest value")
    return told | {"compared_with": "transformers", "difference": worst}


def _theirs(found: Found) -> Run | None:
    written = files.read_json(found.source.folder / files.CONFIG)
    model = agreement.loaded(found, written, DISCRIMINATOR.classes[0])
    if model is None:
        return None

    @torch.inference_mode()
    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        named = {agreement.NAMES[name]: tensor for name, tensor in inputs.items()}
        return {"logits": model(**named).logits}

    return run
