"""A Hugging Face folder as a model of ours: its configuration, and its tensors under our names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from data_prep.contract.settings import InputError
from pipeline.config import TRAINS, DataConfig, ModelConfig, ObjectiveConfig, PipelineConfig
from pipeline.conversion import files
from pipeline.conversion.choose import family_named
from pipeline.conversion.family import Facts, Family
from pipeline.conversion.links import Link, exported, links
from pipeline.conversion.skeleton import Shapes, shapes

SENTENCE_HEAD = "cls.seq_relationship.weight"
DEFAULT_LENGTH = 512
"""Sequence length of a run whose folder names none, in tokens."""


@dataclass(frozen=True)
class Found:
    """A folder that has been understood and checked; its numbers are read when they are asked for."""

    family: Family
    config: PipelineConfig
    facts: Facts
    """Of the tokenizer that comes along; the files may have more rows than it has tokens."""
    rows: int
    """Rows of the word table in the files."""
    links: list[Link]
    shapes: Shapes
    """Of our tensors."""
    source: files.Tensors
    names: dict[str, str]
    """Their canonical names to the names in the files."""

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor of ours, float32."""
        for link in self.links:
            there = [self.source[self.names[name]].float() for name in link.theirs]
            yield from zip(link.ours, link.back(there), strict=True)


def read_folder(folder: Path, vocabulary_size: int, name: str) -> Found:
    """Understand a folder. `InputError` for an architecture that is not known, a missing or unknown tensor, a
    wrong shape; the sentence names it."""
    place = str(folder / files.CONFIG)
    theirs = files.read_json(folder / files.CONFIG)
    family = family_named(theirs, place)
    source = files.Tensors(folder)
    names = {canonical(one, family): one for one in source.places}
    rows = theirs.get("vocab_size", 0)
    if not isinstance(rows, int) or rows < vocabulary_size:
        raise InputError(f"{place}: vocab_size {rows} is less than the {vocabulary_size} of the tokenizer")
    positions = int(theirs.get(family.positions_key) or DEFAULT_LENGTH)
    facts = Facts(
        vocabulary_size=vocabulary_size,
        pad=theirs.get("pad_token_id"),
        bos=theirs.get("bos_token_id"),
        eos=theirs.get("eos_token_id"),
        sentence_head=SENTENCE_HEAD in names,
    )
    offset = family.offset_counted * family.position_offset(facts)
    facts = replace(facts, positions=positions - offset)
    values = family.read(theirs, place) | {"tied_output": not _untied(family, names, source)}
    config = _run_config(name, values, facts, place)
    ours = shapes(config, vocabulary_size)
    the_links = links(family, config.model, facts, ours)
    _repeat(family.table(config.model)["words.table"], names)
    found = Found(family, config, facts, rows, the_links, ours, source, names)
    _check_names(found)
    _check_shapes(found)
    return found


def canonical(name: str, family: Family) -> str:
    """The name that transformers' class has for a tensor, of which old folders have others."""
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    heads = ("lm_head.", "cls.", "final_logits_bias")
    return name if name.startswith((family.base, *heads)) else family.base + name


def _untied(family: Family, names: dict[str, str], source: files.Tensors) -> bool:
    """Whether the output head has numbers of its own."""
    table = family.table(ModelConfig())
    words, head = (table[name] for name in ("words.table", "head.table"))
    words = words if isinstance(words, str) else words[0]
    if f"{head}.weight" not in names or f"{words}.weight" not in names:
        return False
    return not torch.equal(source[names[f"{words}.weight"]], source[names[f"{head}.weight"]])


def _run_config(name: str, values: dict[str, Any], facts: Facts, place: str) -> PipelineConfig:
    architecture = values.get("architecture", "decoder")
    kind = TRAINS[architecture][0]
    if values.get("positions", "learned") == "learned":
        values = values | {"max_positions": facts.positions}
        kind = "denoising" if architecture == "encoder_decoder" else kind
    task = "next_sentence" if facts.sentence_head else "none"
    try:
        return PipelineConfig(
            name=name,
            model=ModelConfig(**values),
            objective=ObjectiveConfig(kind=kind, sentence_task=task),
            data=DataConfig(sequence_length=facts.positions),
        )
    except ValidationError as error:
        raise InputError(f"{place}: {error.errors()[0]['msg']}") from error


def _repeat(words: str | tuple[str, ...], names: dict[str, str]) -> None:
    """Let a word table that goes by two names be read under the one that is there."""
    if isinstance(words, tuple) and f"{words[0]}.weight" in names:
        for copy in words[1:]:
            names.setdefault(f"{copy}.weight", names[f"{words[0]}.weight"])


def _check_names(found: Found) -> None:
    wanted = {name for link in found.links for name in link.theirs}
    for name in sorted(wanted - set(found.names)):
        raise InputError(f"{found.source.folder}: tensor {name} is missing")
    head = found.family.table(found.config.model)["head.table"]
    copies = [*found.family.copies, f"{head}.weight"]
    for name in sorted(set(found.names) - wanted):
        if name in found.family.zeros:
            if found.source[found.names[name]].any():
                raise InputError(f"{found.source.folder}: {name} is not zero, which is not supported")
        elif not any(fnmatch(name, pattern) for pattern in copies):
            raise InputError(
                f"{found.source.folder}: tensor {name} has no place in a {found.family.model_type}"
            )


def _check_shapes(found: Found) -> None:
    whole = replace(found.facts, vocabulary_size=found.rows)
    ours = shapes(found.config, found.rows)
    with FakeTensorMode():
        wanted = dict(
            exported(
                links(found.family, found.config.model, whole, ours),
                {name: torch.empty(shape) for name, shape in ours.items()},
            )
        )
    for name, tensor in wanted.items():
        shape = found.source.shape(found.names[name])
        if shape != list(tensor.shape):
            raise InputError(
                f"{found.source.folder}: tensor {name} has shape {shape} where config.json asks for "
                f"{list(tensor.shape)}"
            )
