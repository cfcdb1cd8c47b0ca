"""Published models as values of the recipe's `model` section."""

import difflib
from typing import Any

PRESETS: dict[str, dict[str, Any]] = {}


def suggestion(name: str) -> str:
    """What to say after a name that no preset has."""
    near = difflib.get_close_matches(name, PRESETS, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(PRESETS)}"
