"""`bloomery export`: a checkpoint as a Hugging Face folder that transformers loads with no code of ours.

    config.json  generation_config.json  model.safetensors (or files of 5 GB with an index)
    tokenizer.json  tokenizer_config.json  special_tokens_map.json  tokenizer.model

Everything is written to a temporary name, checked there and renamed.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.run_folder import read_config
from pipeline.config import PipelineConfig
from pipeline.conversion import agreement, files
from pipeline.conversion.agreement import Say
from pipeline.conversion.choose import family_of
from pipeline.conversion.family import Facts, Family
from pipeline.conversion.links import TOKEN_ROWS, links
from pipeline.conversion.reading import Found, read_folder
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.tokenizer import write_tokenizer
from pipeline.generation.load import find_checkpoint

Weights: TypeAlias = Callable[[str], Tensor]
"""Whole weights by our names."""


def export(path: Path, out: Path, say: Say, average: bool = False) -> dict[str, Any]:
    """Write the checkpoint that `path` names, or the newest of that run; returns what was written and shown.

    Adapters are merged into the weights; with `average` these are their moving average.
    Raises `InputError` where transformers has no such architecture, or the two models do not agree.
    """
    checkpoint, run = find_checkpoint(path)
    damage = checkpoint.damage()
    if damage:
        raise InputError(f"{checkpoint.folder}: {damage}; use an earlier checkpoint")
    config, vocabulary = read_config(run), Vocabulary(run / TOKENIZER)
    facts = facts_of(config, vocabulary)
    family = family_of(config.model, facts)
    ours = shapes(config, vocabulary.size)
    checkpoint.check_fits(ours)
    weight = partial(checkpoint.merged, average=average)
    the_links = links(family, config.model, facts, ours)
    with files.appearing(out) as folder:
        say(f"writing {family.model_type} to {out}")
        files.write_tensors(
            folder,
            (
                pair
                for link in the_links
                for pair in zip(link.theirs, link.out([weight(one) for one in link.ours]), strict=True)
            ),
        )
        files.write_json(
            folder / files.CONFIG, family.write(config.model, facts) | _starts(config, vocabulary)
        )
        files.write_json(folder / "generation_config.json", _generation(config, vocabulary))
        write_tokenizer(folder, vocabulary, facts.positions, say)
        shown = _check(folder, family, weight, config, vocabulary, say)
    return {"model_type": family.model_type, "folder": str(out), "step": checkpoint.index.step} | shown


def facts_of(config: PipelineConfig, vocabulary: Vocabulary) -> Facts:
    """What the folder says beside the model's shape."""
    learned = config.model.positions == "learned"
    return Facts(
        vocabulary_size=vocabulary.size,
        pad=vocabulary.pad,
        bos=vocabulary.bos,
        eos=vocabulary.eos,
        positions=config.position_table if learned else config.data.sequence_length,
        sentence_head=config.objective.sentence_task != "none",
    )


def _starts(config: PipelineConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    """The decoder's first token: T5's is `<pad>`, BART's `<eos>`, as our objectives have it."""
    if config.model.architecture != "encoder_decoder":
        return {}
    start = vocabulary.eos if config.objective.kind == "denoising" else vocabulary.pad
    return {"decoder_start_token_id": start}


def _generation(config: PipelineConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    ids = {"pad_token_id": vocabulary.pad, "bos_token_id": vocabulary.bos, "eos_token_id": vocabulary.eos}
    return ids | _starts(config, vocabulary)


def _check(
    folder: Path,
    family: Family,
    weight: Weights,
    config: PipelineConfig,
    vocabulary: Vocabulary,
    say: Say,
) -> dict[str, Any]:
    found = read_folder(folder, vocabulary.size, config.name)
    check_numbers(found, weight, vocabulary.size)
    parameters = sum(torch.Size(shape).numel() for shape in found.shapes.values())
    shown = {"tensors": len(found.names), "parameters": parameters}
    say(f"{len(found.names)} tensors read back, every number equal")
    if not agreement.fits(parameters):
        say("two of these models do not fit into memory, so they were not run side by side")
        return shown | {"compared_with": "numbers alone"}
    weights = ((name, weight(name)) for name in found.shapes)
    original = agreement.ours(config, vocabulary.size, weights)
    class_name = family.write(config.model, found.facts)["architectures"][0]
    return shown | agreement.check_models(found, original, folder, class_name, say)


def check_numbers(found: Found, weight: Weights, tokens: int) -> None:
    """`InputError` unless what is read back from the files is what was written, number by number."""
    for name, tensor in found.tensors():
        held = weight(name)
        if name in TOKEN_ROWS:
            held, tensor = held[:tokens], tensor[:tokens]
        if not torch.equal(tensor, held):
            raise InputError(
                f"{found.source.folder}: {name} does not come back as it was; nothing was written"
            )
