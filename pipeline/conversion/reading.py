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

from data_prep.contract.problems import first_problem
from data_prep.contract.settings import InputError
from pipeline.config import TRAINS, DataConfig, ModelConfig, ObjectiveConfig, PipelineConfig
from pipeline.conversion import files
from pipeline.conversion.chat_files import has_template
from pipeline.conversion.choose import family_named
from pipeline.conversion.family import Facts, Family, shown, whole
from pipeline.conversion.links import Link, exported, imported, links
from pipeline.conversion.skeleton import Shapes, shapes
from pipeline.objectives.sentences import SentenceTask

MOST_ROWS, LONGEST = 1 << 24, 1 << 31
"""Bounds of tokens and of positions that are far above anybody's."""
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
        return imported(self.links, self._finite)

    def _finite(self, theirs: str) -> Tensor:
        name = self.names[theirs]
        tensor = self.source[name].float()
        if not tensor.isfinite().all():
            place = self.source.folder / self.source.places[name]
            raise InputError(f"{place}: {name} has values that are no finite numbers")
        return tensor


def read_folder(folder: Path, vocabulary_size: int, name: str) -> Found:
    """Understand a folder. `InputError` for an architecture that is not known, a missing or unknown tensor, a
    wrong shape; the sentence names it."""
    place = str(folder / files.CONFIG)
    theirs = files.read_json(folder / files.CONFIG)
    family = family_named(theirs, place)
    source = files.Tensors(folder)
    names = _canonical_names(source, family)
    rows = whole(place, "vocab_size", theirs.get("vocab_size", 0), 0, MOST_ROWS)
    if rows < vocabulary_size:
        raise InputError(f"{place}: vocab_size {rows} is less than the {vocabulary_size} of the tokenizer")
    facts = _facts(family, theirs, place, rows, names)
    facts = replace(facts, vocabulary_size=vocabulary_size)
    values = family.read(theirs, place)
    _check_depth(family, values, source, place)
    values |= _bare(family, theirs, names) or _output(family, values, names, source)
    _check_start(values, facts, theirs, place)
    task = family.sentence_task if facts.sentence_head else "none"
    config = _run_config(name, values, facts, place, has_template(folder), task)
    try:
        ours = shapes(config, vocabulary_size)
    except (RuntimeError, OverflowError, MemoryError) as error:
        raise InputError(f"{place}: its sizes make no model ({error})") from None
    the_links = links(family, config.model, facts, ours)
    _repeat(family.table(config.model)["words.table"], names)
    found = Found(family, config, facts, rows, the_links, ours, source, names)
    _check_names(found)
    _check_shapes(found)
    return found


def _canonical_names(source: files.Tensors, family: Family) -> dict[str, str]:
    """The names that transformers' class has to those in the files; no two of these may be one of them."""
    names: dict[str, str] = {}
    for one in sorted(source.places):
        name = canonical(one, family)
        if name in names:
            raise InputError(f"{source.folder}: {names[name]} and {one} are both {name}; one is expected")
        names[name] = one
    return names


def _facts(family: Family, theirs: dict[str, Any], place: str, rows: int, names: dict[str, str]) -> Facts:
    ids = {kind: _token(theirs, f"{kind}_token_id", place, rows) for kind in ("pad", "bos", "eos")}
    head = f"{family.table(ModelConfig()).get('next_sentence.classify')}.weight"
    facts = Facts(rows, ids["pad"], ids["bos"], ids["eos"], sentence_head=head in names)
    said = theirs.get(family.positions_key)
    positions = whole(place, family.positions_key, DEFAULT_LENGTH if said is None else said, 1, LONGEST)
    offset = family.offset_counted * family.position_offset(facts)
    return replace(facts, positions=whole(place, family.positions_key, positions - offset, 1, LONGEST))


def _token(theirs: dict[str, Any], name: str, place: str, rows: int) -> int | None:
    """The id of a token, or the first of several; one that is no row's is what some folders have for none."""
    value = theirs.get(name)
    several = value if isinstance(value, list) else [value]
    if any(one is not None and type(one) is not int for one in several):
        raise InputError(f"{place}: {name} is {shown(value)}; the id of a token is expected")
    return next((one for one in several if one is not None and 0 <= one < rows), None)


def _check_depth(family: Family, values: dict[str, Any], source: files.Tensors, place: str) -> None:
    """`InputError` for more layers than there are tensors, before any of them is made."""
    for name in ("layers", "encoder_layers"):
        if (values.get(name) or 0) > len(source.places):
            raise InputError(
                f"{place}: {family.key_of(name)} is {values[name]} where the folder has {len(source.places)} "
                "tensors in all"
            )


def _bare(family: Family, theirs: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Whether an encoder comes without the head that predicts words, as its class says it does."""
    said = theirs.get("architectures") or [family.bare]
    table = family.table(ModelConfig())
    bare = family.bare and said in [[one] for one in (family.bare, *family.bared)]
    if not bare or f"{table['masked_head.dense']}.weight" in names:
        return {}
    pooled = f"{table.get('pooler.dense')}.weight" in names
    return {"language_head": False, "pooler": pooled, "tied_output": True}


def _check_start(values: dict[str, Any], facts: Facts, theirs: dict[str, Any], place: str) -> None:
    """`InputError` where a decoder behind an encoder begins otherwise than T5's by pad, or BART's by eos."""
    name = "decoder_start_token_id"
    start = _token(theirs, name, place, facts.vocabulary_size)
    if values.get("architecture") != "encoder_decoder" or start is None:
        return
    wanted = facts.eos if values.get("positions", "learned") == "learned" else facts.pad
    if wanted is not None and start != wanted:
        raise InputError(f"{place}: {name} {start} is not supported; {wanted} is")


def canonical(name: str, family: Family) -> str:
    """The name that transformers' class has for a tensor, of which old folders have others."""
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    for start, ours in family.also:
        name = ours + name.removeprefix(start) if name.startswith(start) else name
    return name if name.startswith((family.base, *family.outside)) else family.base + name


def _output(
    family: Family, values: dict[str, Any], names: dict[str, str], source: files.Tensors
) -> dict[str, Any]:
    """Whether the output head is the word table; `InputError` where one of its own is missing."""
    head = f"{_head(family)}.weight"
    if not values.get("tied_output", True) and head not in names:
        raise InputError(
            f"{source.folder}: tensor {head} is missing, and config.json says that it is not tied"
        )
    return {"tied_output": not _untied(family, names, source)}


def _head(family: Family) -> str:
    head = family.table(ModelConfig())["head.table"]
    assert isinstance(head, str)
    return head


def _untied(family: Family, names: dict[str, str], source: files.Tensors) -> bool:
    """Whether the output head has numbers of its own, which is up to the files, as it is to transformers."""
    table = family.table(ModelConfig())
    words, head = (table[name] for name in ("words.table", "head.table"))
    words = words if isinstance(words, str) else words[0]
    if f"{head}.weight" not in names or f"{words}.weight" not in names:
        return False
    return not torch.equal(source[names[f"{words}.weight"]], source[names[f"{head}.weight"]])


def _run_config(
    name: str, values: dict[str, Any], facts: Facts, place: str, answers: bool, task: SentenceTask
) -> PipelineConfig:
    architecture = values.get("architecture", "decoder")
    kind = TRAINS[architecture][0]
    if values.get("positions", "learned") == "learned":
        values = values | {"max_positions": facts.positions}
        kind = "denoising" if architecture == "encoder_decoder" else kind
    values = values | {"context_length": facts.positions, "answers": answers}
    try:
        return PipelineConfig(
            name=name,
            model=ModelConfig(**values),
            objective=ObjectiveConfig(kind=kind, sentence_task=task),
            data=DataConfig(sequence_length=facts.positions),
        )
    except ValidationError as error:
        raise InputError(f"{place}: {first_problem(error)}") from None


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
    every_row = replace(found.facts, vocabulary_size=found.rows)
    ours = shapes(found.config, found.rows)
    with FakeTensorMode():
        wanted = dict(
            exported(
                links(found.family, found.config.model, every_row, ours),
                lambda name: torch.empty(ours[name]),
            )
        )
    for name, tensor in wanted.items():
        found.source.check_type(found.names[name])
        shape = found.source.shape(found.names[name])
        if shape != list(tensor.shape):
            raise InputError(
                f"{found.source.folder}: tensor {name} has shape {shape} where config.json asks for "
                f"{list(tensor.shape)}"
            )
