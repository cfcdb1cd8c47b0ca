"""Rotary positions in transformers' configurations: in sections of their own, older and newer."""

import math
from typing import Any

from pydantic import ValidationError

from data_prep.contract.problems import first_problem
from data_prep.contract.settings import InputError
from pipeline.config import RopeScaling
from pipeline.conversion.family import shown

NAMES = {
    "linear": {"factor": "factor"},
    "dynamic": {"factor": "factor"},
    "llama3": {
        "factor": "factor",
        "original_positions": "original_max_position_embeddings",
        "low_frequency": "low_freq_factor",
        "high_frequency": "high_freq_factor",
    },
    "yarn": {
        "factor": "factor",
        "original_positions": "original_max_position_embeddings",
        "beta_slow": "beta_slow",
        "beta_fast": "beta_fast",
        "attention_factor": "attention_factor",
        "truncate": "truncate",
    },
}
"""Our keys to theirs, by the kind of stretching."""
NEEDED = {"linear": ("factor",), "dynamic": ("factor",), "yarn": (), "llama3": (*NAMES["llama3"].values(),)}
DEFAULT_BASE = 10_000.0


def read_rope(theirs: dict[str, Any], place: str, base_key: str = "rope_theta") -> dict[str, Any]:
    """The base of rotary angles and how they are stretched; `InputError` for kinds that we do not have."""
    section = theirs.get("rope_scaling") or theirs.get("rope_parameters") or {}
    if not isinstance(section, dict):
        raise InputError(f"{place}: rope_scaling is {shown(section)}; a section is expected")
    kind = section.get("rope_type", section.get("type", "default"))
    part = section.get("partial_rotary_factor", theirs.get("partial_rotary_factor"))
    if part not in (None, 1, 1.0):
        raise InputError(f"{place}: partial_rotary_factor {shown(part)} is not supported; 1.0 is")
    base = section.get("rope_theta", theirs.get(base_key))
    base = DEFAULT_BASE if base is None else positive(place, "rope_theta", base)
    if kind == "default":
        return {"rope_base": base}
    if not isinstance(kind, str) or kind not in NAMES:
        raise InputError(
            f"{place}: rotary positions of type {shown(kind)} are not supported; "
            f"default, {', '.join(NAMES)} are"
        )
    return {"rope_base": base, "rope_scaling": _scaling(kind, section, theirs, place)}


def _scaling(kind: str, section: dict[str, Any], theirs: dict[str, Any], place: str) -> RopeScaling:
    positions = theirs.get("max_position_embeddings")
    said = dict(section)
    if kind in ("llama3", "yarn"):
        outside = theirs.get("original_max_position_embeddings")
        said["original_max_position_embeddings"] = (
            outside or said.get("original_max_position_embeddings") or positions
        )
    for name in NEEDED[kind]:
        if said.get(name) is None:
            raise InputError(f"{place}: rotary positions of type {kind} need {name}")
    values = {ours: said[name] for ours, name in NAMES[kind].items() if said.get(name) is not None}
    if kind == "dynamic":
        values["original_positions"] = positions
    try:
        if kind == "yarn":
            values |= _yarn(said, positions, place)
        return RopeScaling.model_validate({"kind": kind, **values}, strict=True)
    except ValidationError as error:
        first = first_problem(error)
        name = NAMES[kind].get(first.place[0], first.place[0]) if first.place else kind
        raise InputError(
            f"{place}: {name} is {shown(first.value)} for rotary positions of type {kind}; {first.message}"
        ) from None


def _yarn(said: dict[str, Any], positions: Any, place: str) -> dict[str, float]:
    """Its factor, and that on sines and cosines, which follow from others where they are not said."""
    original = said["original_max_position_embeddings"]
    factor = said.get("factor")
    if factor is None:
        original, positions = (
            positive(place, "max_position_embeddings", one) for one in (original, positions)
        )
        factor = positions / original
    factor = positive(place, "factor", factor)
    given = said.get("attention_factor")
    if given is not None:
        return {"factor": factor, "attention_factor": positive(place, "attention_factor", given)}
    scales = [said.get("mscale"), said.get("mscale_all_dim")]
    if not all(scales):
        return {"factor": factor, "attention_factor": _mscale(factor, 1.0)}
    one, all_dim = (positive(place, "mscale", scale) for scale in scales)
    return {"factor": factor, "attention_factor": _mscale(factor, one) / _mscale(factor, all_dim)}


def _mscale(factor: float, scale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def positive(place: str, name: str, value: Any) -> float:
    """A positive number of theirs."""
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise InputError(f"{place}: {name} is {shown(value)}; a positive number is expected")
    return float(value)


def write_rope(ours: dict[str, Any]) -> dict[str, Any]:
    """The same where older and newer versions of transformers look for it."""
    base, scaling = ours["rope_base"], ours["rope_scaling"]
    section: dict[str, Any] = {"rope_type": "default"}
    if scaling:
        names = NAMES[scaling["kind"]]
        section = {"rope_type": scaling["kind"], **{name: scaling[one] for one, name in names.items()}}
    found = {"rope_theta": base, "rope_parameters": section | {"rope_theta": base}}
    return found | ({"rope_scaling": section} if scaling else {})


def read_two_ropes(
    theirs: dict[str, Any], place: str, keys: tuple[str, str], bases: tuple[float, float]
) -> dict[str, Any]:
    """The same of layers that see all, and the base of those that see a window.

    They stand under older `keys` or in newer sections; `bases` are meant where there is neither.
    """
    sections = theirs.get("rope_parameters") or {}
    if not isinstance(sections, dict):
        raise InputError(f"{place}: rope_parameters is {shown(sections)}; a section is expected")
    full, local = (sections.get(f"{kind}_attention") or {} for kind in ("full", "sliding"))
    older = {"rope_theta": theirs.get(keys[0], bases[0]), "rope_scaling": theirs.get("rope_scaling")}
    found = read_rope(theirs | older | ({"rope_scaling": full} if full else {}), place)
    own = read_rope({"rope_theta": theirs.get(keys[1], bases[1]), "rope_scaling": local}, place)
    if "rope_scaling" in own:
        raise InputError(f"{place}: stretched rotary positions of sliding_attention are not supported")
    return found | {"local_rope_base": own["rope_base"]}


def write_two_ropes(ours: dict[str, Any], keys: tuple[str, str]) -> dict[str, Any]:
    """The same where older and newer versions of transformers look for it."""
    full = write_rope(ours)["rope_parameters"]
    local = ours["local_rope_base"] or ours["rope_base"]
    sections = {"full_attention": full, "sliding_attention": {"rope_type": "default", "rope_theta": local}}
    return {keys[0]: ours["rope_base"], keys[1]: local, "rope_parameters": sections}
