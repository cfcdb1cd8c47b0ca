"""Which family a model is of: the one whose configuration says all that ours does."""

from typing import Any

from pydantic import ValidationError

from data_prep.contract.settings import InputError
from pipeline.config import ModelConfig
from pipeline.conversion.families import FAMILIES
from pipeline.conversion.family import Facts, Family, differences, shown


def family_of(model: ModelConfig, facts: Facts) -> Family:
    """The family that a model is of; `InputError` with what is in the way of the nearest one."""
    misses = [(in_the_way(family, model, facts), family) for family in FAMILIES]
    missed, nearest = min(misses, key=lambda miss: len(miss[0]))
    if not missed:
        return nearest
    keys = ", ".join(f"model.{name} {value!r}" for name, value in missed.items())
    raise InputError(
        f"no architecture of transformers is this model; the nearest, {nearest.model_type}, has no {keys}"
    )


def in_the_way(family: Family, model: ModelConfig, facts: Facts) -> dict[str, Any]:
    """Our keys that do not come back from the family's configuration, with their values."""
    try:
        bare = {"language_head": model.language_head, "pooler": model.pooler} if family.bare else {}
        back = ModelConfig(**family.read(family.write(model, facts), family.model_type) | bare)
    except (InputError, ValidationError):
        return {"architecture": model.architecture, "activation": model.activation, "heads": model.heads}
    found = {name: value for name, (value, _) in differences(model, back, facts).items()}
    if facts.sentence_head and model.language_head and len(family.classes) == 1:
        found["sentence_task"] = "next_sentence"
    return found


def family_named(theirs: dict[str, Any], place: str) -> Family:
    """The family of a config.json; `InputError` where it is none of ours."""
    kind = theirs.get("model_type")
    for family in FAMILIES:
        if family.model_type == kind:
            return family
    known = ", ".join(family.model_type for family in FAMILIES)
    raise InputError(f"{place}: model_type {shown(kind)} is not supported; {known} are")
