"""The list of layers as one module, and how layers are run one after the other."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from pipeline.config import ParallelConfig
from pipeline.distributed.recompute import recomputed
from pipeline.models.attention import Attention
from pipeline.models.layer import Flow, Layer

NamedParameters = Iterator[tuple[str, nn.Parameter]]


@dataclass(frozen=True)
class Call:
    """A built layer."""

    function: Callable[[Flow], Flow]
    ends: tuple[str, ...]


def calls(layers: Iterable[Layer], modules: Iterable[nn.Module], parallel: ParallelConfig) -> list[Call]:
    """Built layers, recomputed and compiled as the recipe says."""
    found = []
    for layer, module in zip(layers, modules, strict=True):
        module.layer_name = layer.name  # `pipeline.health.stacks` tells it of a rank that hangs
        for parameter in module.parameters() if layer.block else ():
            parameter.in_block = True  # what Muon is for
        if layer.block and parallel.recompute == "selective":
            for part in module.modules():
                if isinstance(part, Attention):
                    part.recompute_core = True
        if layer.block and parallel.compile:
            module.compile()
        function = partial(layer.forward, module) if layer.forward else module
        full = layer.block and parallel.recompute == "full"
        found.append(Call(recomputed(function) if full else function, layer.ends))
    return found


def run(layers: Iterable[Call], flow: Flow) -> Flow:
    """Each layer adds to the flow, and takes away what nothing after it needs."""
    for layer in layers:
        flow = flow | layer.function(flow)
        for name in layer.ends:
            flow.pop(name, None)
    return flow


class Stack(nn.Module):
    """Every layer in one module, one after the other."""

    def __init__(self, layers: list[Layer], parallel: ParallelConfig | None = None) -> None:
        super().__init__()
        self.parts = nn.ModuleList()
        self._names: list[str] = []
        tied: dict[str, nn.Module] = {}
        modules = []
        for layer in layers:
            module = tied.get(layer.tie or "")
            if module is None:
                module = layer.build()
                self.parts.append(module)
                self._names.append(layer.name)
                if layer.tie:
                    tied[layer.tie] = module
            modules.append(module)
        self._calls = calls(layers, modules, parallel or ParallelConfig())
        ends = ("memory", "image_states", "media")  # what an encoder says, or an image tower
        self._encoder = max((i + 1 for i, layer in enumerate(layers) if {*ends} & {*layer.gives}), default=0)

    def forward(self, inputs: Flow) -> Flow:
        """A batch's inputs to the last layer's outputs."""
        return run(self._calls, inputs)

    def encode(self, inputs: Flow) -> Flow:
        """What the layers up to an encoder's or image tower's output make of its inputs, for `decode`."""
        return run(self._calls[: self._encoder], inputs)

    def decode(self, inputs: Flow) -> Flow:
        """The layers behind that output: all where nothing stands in front of a decoder."""
        return run(self._calls[self._encoder :], inputs)

    def hidden(self, inputs: Flow) -> Tensor:
        """[S, B, H] what the last layer makes words of."""
        return run(self._calls[:-1], inputs)["hidden"]

    def layers(self) -> Iterator[tuple[str, nn.Module]]:
        """Every layer that has parameters of its own, by name."""
        return zip(self._names, self.parts, strict=True)

    def named(self) -> NamedParameters:
        """Every parameter under its layout-free name."""
        for name, part in self.layers():
            for inner, parameter in part.named_parameters():
                yield f"{name}.{inner}", parameter
