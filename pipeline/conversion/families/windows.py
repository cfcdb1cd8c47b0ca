"""Which layers see a window, as transformers' configurations list them: `layer_types`, a name a layer."""

from typing import Any

from data_prep.contract.settings import InputError
from pipeline.conversion.family import shown

KINDS = {"full_attention": "global", "sliding_attention": "local"}


def read_pattern(theirs: dict[str, Any], default: tuple[str, ...], place: str) -> tuple[str, ...]:
    """The shortest pattern that repeats to their list; `default` where there is none."""
    types = theirs.get("layer_types")
    if types is None:
        return default
    if not isinstance(types, list) or not types or any(one not in KINDS for one in types):
        raise InputError(
            f"{place}: layer_types is {shown(types)}; a list of {' and '.join(KINDS)} is expected"
        )
    found = tuple(KINDS[one] for one in types)
    for size in range(1, len(found) + 1):
        if all(kind == found[layer % size] for layer, kind in enumerate(found)):
            return found[:size]
    raise AssertionError("a list is a pattern of its own length")


def write_types(ours: dict[str, Any]) -> list[str]:
    """Their list; `ours` says of each layer whether it is local."""
    return ["sliding_attention" if local else "full_attention" for local in ours["layer_pattern"]]
