"""What a family is called in a Hugging Face folder: its tensors and its configuration, each by one table."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from data_prep.contract.problems import first_problem
from data_prep.contract.reading import printable
from data_prep.contract.settings import InputError
from pipeline.config import ModelConfig

Table = dict[str, str | tuple[str, ...]]
"""Our modules to theirs, `*` being the layer's number. Where one of ours is several of theirs, in the order
queries, keys, values or gate, up."""

REQUIRED = object()


class Key(NamedTuple):
    """A value that both configurations have."""

    ours: str
    theirs: str | tuple[str, ...]
    """Its name, or several that must have the same value."""
    default: Any = REQUIRED
    """What their configuration means where it leaves the key out."""
    words: dict[Any, Any] = {}  # noqa: RUF012 - never changed
    """Our words for values to theirs, where they differ; the first of equal ones counts."""

    @property
    def names(self) -> tuple[str, ...]:
        """What their configuration calls it."""
        return self.theirs if isinstance(self.theirs, tuple) else (self.theirs,)


@dataclass(frozen=True)
class Facts:
    """What a folder says beside the model's shape."""

    vocabulary_size: int
    pad: int | None = None
    bos: int | None = None
    eos: int | None = None
    positions: int = 0
    """Length of the table of learned positions, or else the longest sequence that is meant to be fed."""
    sentence_head: bool = False
    """Whether there is the head of a sentence task."""
    ends: tuple[int, ...] = ()
    """What ends an answer, where that is more than `eos`."""


@dataclass(frozen=True)
class Family:
    """One architecture of transformers."""

    model_type: str
    """Its name in config.json."""
    classes: tuple[str, ...]
    """The class that config.json names; the second one is that with a sentence task's head."""
    bare: str = field(default="", kw_only=True)
    """The class without a head that predicts words, whose names lack `base`; empty where we have none."""
    bared: tuple[str, ...] = field(default=(), kw_only=True)
    """Classes whose heads we leave out, so that they are read as the bare one."""
    base: str
    """Prefix of every name but the head's, which folders of the bare model leave out."""
    table: Callable[[ModelConfig], Table]
    keys: tuple[Key, ...]
    ours: dict[str, Any]
    """Values of our configuration that the family always has, where they differ from the defaults."""
    theirs: dict[str, Any] = field(default_factory=dict)
    """Values of their configuration that we need; other values are refused."""
    fused: Literal["joined", "grouped", ""] = ""
    """How one tensor holds queries, keys and values: one kind after the other, or group by group."""
    transposed: bool = False
    """Whether matrices inside the layers are stored as inputs x outputs."""
    position_offset: Callable[[Facts], int] = lambda facts: 0
    """Unused rows in front of the table of positions."""
    offset_counted: bool = False
    """Whether the number of positions in their configuration counts those rows too."""
    positions_key: str = "max_position_embeddings"
    """Where their configuration has the number of positions."""
    outside: tuple[str, ...] = ("lm_head.", "cls.", "final_logits_bias")
    """How names begin that `base` is not in front of."""
    also: tuple[tuple[str, str], ...] = ()
    """What the beginnings of names are in some versions of transformers, and what they are in the table."""
    copies: tuple[str, ...] = ()
    """Names that only repeat tensors of the table, or hold what is computed; not read."""
    sentence_task: Literal["next_sentence", "sentence_order"] = "next_sentence"
    """The task whose head the second of the classes has."""
    zeros: tuple[str, ...] = ()
    """Names of tensors that we have no place for and that must be zero."""
    write_more: Callable[[dict[str, Any]], dict[str, Any]] = lambda ours: {}
    """Values of their configuration that follow from several of ours."""
    read_more: Callable[[dict[str, Any], str], dict[str, Any]] = lambda theirs, place: {}
    """The way back, with the place of their configuration for what is wrong with it."""

    def class_of(self, model: ModelConfig, facts: Facts) -> str:
        """The class of transformers that has all of a model."""
        if not model.language_head:
            return self.bare
        return self.classes[facts.sentence_head and len(self.classes) > 1]

    def write(self, model: ModelConfig, facts: Facts) -> dict[str, Any]:
        """Their configuration; whether it says all that ours does is up to the caller to check."""
        ours = essence(model, facts)
        written: dict[str, Any] = {
            "architectures": [self.class_of(model, facts)],
            "model_type": self.model_type,
            "vocab_size": facts.vocabulary_size,
            "pad_token_id": facts.pad,
            "bos_token_id": facts.bos,
            "eos_token_id": list(facts.ends) if len(facts.ends) > 1 else facts.eos,
            "dtype": "float32",
            self.positions_key: facts.positions + self.offset_counted * self.position_offset(facts),
        }
        for key in self.keys:
            value = ours[key.ours]
            written |= dict.fromkeys(key.names, key.words.get(value, value))
        return written | self.theirs | self.write_more(ours)

    def read(self, theirs: dict[str, Any], place: str) -> dict[str, Any]:
        """The values of our `model` section. `InputError` where theirs has something that we do not."""
        for name in REFUSED:
            if theirs.get(name):
                raise InputError(f"{place}: {name} {shown(theirs[name])} is not supported; leave it out")
        for name, value in self.theirs.items():
            if theirs.get(name, value) != value:
                raise InputError(f"{place}: {name} {shown(theirs[name])} is not supported; {value!r} is")
        found = dict(self.ours)
        for key in self.keys:
            found[key.ours] = _read_key(key, theirs, place)
        return found | self.read_more(theirs, place)

    def key_of(self, ours: str) -> str:
        """What their configuration calls a key of ours."""
        for key in self.keys:
            if key.ours == ours:
                return key.names[0]
        return ours


REFUSED = ("quantization_config", "transformers_weights", "pruned_heads")
"""What changes which numbers a folder's weights are, in ways that are not read."""
LARGEST = {"layers": 10_000, "encoder_layers": 10_000}
LARGEST_SIZE = 1 << 20
"""Largest of every other size: nobody's model comes near, and what is larger is damage or malice."""


def _read_key(key: Key, theirs: dict[str, Any], place: str) -> Any:
    names = key.names
    there = [name for name in names if theirs.get(name) is not None]
    values = [theirs[name] for name in there]
    if not values:
        if key.default is REQUIRED:
            raise InputError(f"{place}: {names[0]} is missing")
        return key.default
    if not key.words:
        values = [checked(place, name, theirs[name], key.ours) for name in there]
    if key.ours != "dropout" and any(value != values[0] for value in values):
        raise InputError(f"{place}: {' and '.join(names)} differ ({shown(values)}); they must be equal")
    if not key.words:
        return values[0]
    for ours, word in key.words.items():
        if word == values[0]:
            return ours
    raise InputError(
        f"{place}: {names[0]} {shown(values[0])} is not supported; "
        f"{', '.join(map(repr, key.words.values()))} is"
    )


@cache
def _kind(ours: str) -> TypeAdapter[Any]:
    about = ModelConfig.model_fields[ours]
    kind: Any = about.annotation
    return TypeAdapter(Annotated[kind, *about.metadata] if about.metadata else kind)


def checked(place: str, name: str, value: Any, ours: str) -> Any:
    """A value of theirs if it is one that our key may have: a number is no word and no infinity."""
    try:
        found = _kind(ours).validate_python(value, strict=True)
    except (ValidationError, OverflowError) as error:
        problem = first_problem(error).message if isinstance(error, ValidationError) else str(error)
        raise InputError(f"{place}: {name} is {shown(value)}; {problem}") from None
    if type(found) is int and found > LARGEST.get(ours, LARGEST_SIZE):
        raise InputError(
            f"{place}: {name} is {shown(value)}; at most {LARGEST.get(ours, LARGEST_SIZE):,} is expected"
        )
    if isinstance(found, float) and not math.isfinite(found):
        raise InputError(f"{place}: {name} is {shown(value)}; a finite number is expected")
    return found


def whole(place: str, name: str, value: Any, least: int, most: int) -> int:
    """A whole number of theirs within bounds."""
    if type(value) is not int or not least <= value <= most:
        raise InputError(
            f"{place}: {name} is {shown(value)}; a whole number from {least:,} to {most:,} is expected"
        )
    return value


def flag(theirs: dict[str, Any], name: str, default: bool, place: str) -> bool:
    """A yes or no of theirs."""
    value = theirs.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InputError(f"{place}: {name} is {shown(value)}; true or false is expected")
    return value


def shown(value: Any) -> str:
    """A value of theirs in a sentence."""
    return printable(repr(value)[:100])


TRAINING_ONLY = {
    "preset",
    "dropout",
    "attention_dropout",
    "initial_std",
    "initialization",
    "mimetic",
    "context_length",
    "answers",
}
"""Keys that do not change what a trained model computes."""


def experts_essence(model: ModelConfig, facts: Facts) -> dict[str, Any] | None:
    """The keys of `model.experts` that change what a trained model computes.

    `every` says of each layer of both stacks whether it has experts, `capacity` what one takes of a sequence;
    more than all tokens is None.
    """
    if model.experts is None:
        return None
    stacks = (model.encoder_depth, model.layers)
    found = model.experts.capacities(facts.positions, facts.positions)
    capacity = found.evaluation if found and found.evaluation < facts.positions else None
    return model.experts.model_dump(include={"count", "active", "normalise", "shared"}) | {
        "every": [[model.has_experts(layer) for layer in range(stack)] for stack in stacks],
        "capacity": capacity,
    }


def essence(model: ModelConfig, facts: Facts) -> dict[str, Any]:
    """Our configuration with every default that follows from other keys filled in.

    `layer_pattern` says of each layer whether it is local, `unrotated_every` whether it is rotated.
    """
    found = model.model_dump() | {
        "head_size": model.head_width,
        "key_value_heads": model.kv_heads,
        "feed_forward_size": model.mlp_size,
        "encoder_layers": model.encoder_depth,
        "max_positions": facts.positions,
        "norm_bias": model.norm == "layernorm" and model.norm_bias,
        "experts": experts_essence(model, facts),
        "qkv_bias": None if model.has_qkv_bias == model.bias else model.has_qkv_bias,
        "attention_scalar": model.attention_scalar or float(model.head_width),
        "layer_pattern": tuple(model.is_local(layer) for layer in range(model.layers)),
        "unrotated_every": tuple(model.is_rotated(layer) for layer in range(model.layers)),
    }
    own_base = model.local_rope_base or (None if model.rope_scaling else model.rope_base)
    local = any(found["layer_pattern"])
    found["local_rope_base"] = own_base if local and model.positions == "rope" else None
    found["local_window"] = model.local_window if local else None
    return found


def differences(one: ModelConfig, other: ModelConfig, facts: Facts) -> dict[str, tuple[Any, Any]]:
    """The keys in which two configurations compute something else, with both values."""
    idle = set(TRAINING_ONLY) | {"max_positions"}
    idle |= set() if one.positions == "rope" else {"rope_base", "rope_scaling"}
    idle |= set() if one.positions == "relative" else {"relative_buckets", "relative_distance"}
    ours, theirs = essence(one, facts), essence(other, facts)
    idle |= set() if ours["local_window"] and theirs["local_window"] else {"layer_pattern"}
    for both in (ours, theirs):
        both["logit_scale"] = round(both["logit_scale"], 7)
        both["embedding_scale"] = round(both["embedding_scale"], 5)
    return {
        name: (value, theirs[name])
        for name, value in ours.items()
        if name not in idle and value != theirs[name]
    }
