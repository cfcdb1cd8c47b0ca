"""What presets are written with: a family's values and those of a size."""

from typing import Any

Values = dict[str, Any]
"""Keys of the `model` section."""


def sized(layers: int, hidden_size: int, heads: int, **more: Any) -> Values:
    """The keys that differ by size."""
    return {"layers": layers, "hidden_size": hidden_size, "heads": heads} | more


TINY = sized(2, 64, 4)
"""A size for tests."""

LLAMA: Values = {
    "positions": "rope",
    "activation": "swiglu",
    "norm": "rmsnorm",
    "norm_epsilon": 1e-6,
    "bias": False,
    "tied_output": False,
    "initialization": "plain",
}
"""Llama's parts (Touvron et al. 2023), which most decoders since have with a change or two."""
