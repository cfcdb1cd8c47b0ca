"""A second stack of layers in the same list: it reads the same batch and has states and weights of its own.

So a policy and its value model are one model to an engine: one optimizer, one checkpoint, every layout. Their
layers stand one behind the other, as an encoder's and a decoder's do.
"""

from dataclasses import replace
from functools import partial

from torch import nn

from pipeline.models.layer import Flow, Layer

SHARED = frozenset({"tokens", "positions", "segments", "prefix", "token_types"})
"""What both stacks read of a batch; the second one ends it."""


def beside(layers: list[Layer], prefix: str) -> list[Layer]:
    """The layers under names with a prefix; what they give has it too, but for the last one's outputs."""
    outputs = layers[-1].gives
    private = {name for layer in layers for name in (*layer.gives, *layer.ends)} - SHARED - set(outputs)

    def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{prefix}{name}" if name in private else name for name in names if name not in SHARED)

    return [
        replace(
            layer,
            name=f"{prefix}{layer.name}",
            tie=f"{prefix}{layer.tie}".replace(".", "_") if layer.tie else None,
            forward=partial(apart, layer=layer, prefix=prefix, private=frozenset(private)),
            gives=renamed(layer.gives),
            ends=renamed(layer.ends),
        )
        for layer in layers
    ]


def apart(module: nn.Module, flow: Flow, *, layer: Layer, prefix: str, private: frozenset[str]) -> Flow:
    """Run a layer on its own stack's part of the flow."""
    seen = {name: tensor for name, tensor in flow.items() if name in SHARED}
    seen |= {name: flow[f"{prefix}{name}"] for name in private if f"{prefix}{name}" in flow}
    found = layer.forward(module, seen) if layer.forward else module(seen)
    return {f"{prefix}{name}" if name in private else name: tensor for name, tensor in found.items()}
