"""Which of our tensors are which of transformers', and the change of layout between them."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from data_prep.contract.settings import InputError
from pipeline.config import ModelConfig
from pipeline.conversion.family import Facts, Family
from pipeline.conversion.layouts import (
    STACKED,
    STACKED_PAIRS,
    TRANSPOSED,
    Change,
    Tensors,
    behind_first,
    first_rows,
    pieces,
    repeated,
    rows_before,
)
from pipeline.costs.flops import padded_vocabulary

Weights = Callable[[str], Tensor]
"""Whole weights by their names."""
TOKEN_ROWS = ("words.table.weight", "head.table.weight", "masked_head.bias")
"""What has one row a token."""


@dataclass(frozen=True)
class Link:
    """Tensors of ours and theirs that hold the same numbers, by name."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    changes: tuple[Change, ...]
    """From ours to theirs, one after the other."""

    def out(self, tensors: Tensors) -> Tensors:
        """Ours as theirs."""
        for change in self.changes:
            tensors = change.out(tensors)
        return tensors

    def back(self, tensors: Tensors) -> Tensors:
        """Theirs as ours."""
        for change in reversed(self.changes):
            tensors = change.back(tensors)
        return tensors


def links(family: Family, model: ModelConfig, facts: Facts, names: Iterable[str]) -> list[Link]:
    """A link for every name of ours; `InputError` where the family has no place for one."""
    table, found = family.table(model), []
    for name in names:
        path, kind = name.rsplit(".", 1)
        template = re.sub(r"blocks\.\d+", "blocks.*", path)
        if template.endswith("attention.key_value"):
            continue  # goes with the queries
        ours: tuple[str, ...] = (name,)
        if template.endswith("attention.query"):
            template = template.replace("attention.query", "attention.qkv")
            ours = (name, name.replace("attention.query", "attention.key_value"))
        if template not in table:
            raise InputError(f"{family.model_type} has no place for {name}")
        number = re.search(r"blocks\.(\d+)", path)
        theirs = _named(table[template], number[1] if number else "", kind)
        changes = _layout(family, model, template, isinstance(table[template], tuple), len(ours) > 1)
        found.append(Link(ours, theirs, (*_rows(family, facts, name, len(theirs)), *changes)))
    return found


def _named(modules: str | tuple[str, ...], number: str, kind: str) -> tuple[str, ...]:
    names = (modules,) if isinstance(modules, str) else modules
    return tuple(f"{name.replace('*', number)}.{kind}" for name in names)


def _rows(family: Family, facts: Facts, name: str, copies: int) -> list[Change]:
    """Rows that only one side has: those that fill up a word table, those in front of the positions."""
    if name in TOKEN_ROWS:
        count = facts.vocabulary_size
        cut = first_rows(count, padded_vocabulary(count))
        return [cut, repeated(copies)] if copies > 1 else [cut]
    if name.endswith("positions.weight"):
        return [rows_before(family.position_offset(facts))]
    return []


def _layout(
    family: Family, model: ModelConfig, template: str, several: bool, multi_query: bool
) -> list[Change]:
    """How the rows of fused matrices lie, and which dimension comes first."""
    found: list[Change] = []
    if template.endswith("attention.qkv"):
        found += _queries_keys_values(model, multi_query)
        if not several:
            found.append(_fused(family, model).undone)
    elif template.endswith("cross.key_value"):
        found.append(pieces(model.kv_heads, (1, 1)))
    elif template.endswith("mlp.expert_down"):
        found.append(STACKED)
    elif template.endswith("mlp.expert_up"):
        found.append(STACKED_PAIRS if model.gated else STACKED)
    elif template.endswith("mlp.up") and several:
        found.append(pieces(1, (1, 1)))
    if family.transposed and "blocks.*" in template:
        found.append(TRANSPOSED)
    return found


def _queries_keys_values(model: ModelConfig, multi_query: bool) -> list[Change]:
    if multi_query:
        return [behind_first(pieces(1, (1, 1)))]
    return [pieces(model.kv_heads, (model.heads // model.kv_heads, 1, 1))]


def _fused(family: Family, model: ModelConfig) -> Change:
    groups = model.kv_heads
    if family.fused == "joined":
        return pieces(1, (model.heads, groups, groups))
    return pieces(groups, (model.heads // groups, 1, 1))


def exported(links: Iterable[Link], ours: Weights) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of theirs, from ours by name."""
    for link in links:
        yield from zip(link.theirs, link.out([ours(name) for name in link.ours]), strict=True)


def imported(links: Iterable[Link], theirs: Weights) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of ours, from theirs by name."""
    for link in links:
        yield from zip(link.ours, link.back([theirs(name) for name in link.theirs]), strict=True)
