"""The list of layers as pipeline stages.

Every parameter has the name that it has in `Stack`, `LAYER.PARAMETER`, so that weights can go from one to the
other.
"""

from collections.abc import Callable
from typing import Any

from deepspeed.pipe import LayerSpec, PipelineModule, TiedLayerSpec
from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology
from deepspeed.runtime.utils import partition_balanced
from torch import nn

from pipeline.models.layer import Layer
from pipeline.parallel.stack import NamedParameters
from pipeline.parallel.world import World


class Stages(PipelineModule):
    """The layers of this process's pipeline stage; stages are cut to cost about the same."""

    def __init__(self, layers: list[Layer], world: World, loss: Callable[[Any, Any], Any]) -> None:
        self._layers = layers
        topology = PipeModelDataParallelTopology(
            num_pp=world.pipeline_size, num_mp=world.tensor_size, num_dp=world.data_size
        )
        super().__init__([_spec(layer) for layer in layers], topology=topology, loss_fn=loss)

    def _partition_layers(self, method: str = "cost") -> None:
        costs = [layer.cost for layer in self._layers]
        self.parts = stage_bounds(costs, self.num_stages)
        stage = self._topo.get_coord(self.global_rank).pipe
        self._set_bounds(start=self.parts[stage], stop=self.parts[stage + 1])

    def named(self) -> NamedParameters:
        """This stage's parameters under their layout-free names; a tied weight on every stage that has it."""
        own = self._layers[self._local_start : self._local_stop]
        seen: set[str] = set()
        for layer, function in zip(own, self.forward_funcs, strict=True):
            if layer.tie in seen:
                continue
            if layer.tie:
                seen.add(layer.tie)
            module = self.tied_modules[layer.tie] if layer.tie else getattr(function, "inner", function)
            for inner, parameter in module.named_parameters():
                yield f"{layer.name}.{inner}", parameter


def stage_bounds(costs: list[float], stages: int) -> list[int]:
    """First layer of each stage, and the number of layers at the end.

    Each layer counts a thousandth more than its cost, so that layers without cost are not all heaped on one
    stage and no stage is left empty.

    >>> stage_bounds([0.0, 10.0, 10.0, 10.0, 10.0, 0.0, 5.0], 2)
    [0, 3, 7]
    """
    floor = max(costs) / 1000.0
    bounds: list[int] = partition_balanced([cost + floor for cost in costs], stages)
    return bounds


def _spec(layer: Layer) -> LayerSpec:
    if layer.tie:
        return TiedLayerSpec(
            layer.tie,
            layer.module,
            *layer.arguments,
            forward_fn=layer.forward,
            tied_weight_attr="weight",
        )
    if layer.forward:
        return LayerSpec(_Called, layer)
    return LayerSpec(layer.module, *layer.arguments)


class _Called(nn.Module):
    """An untied layer that is used through a function of its own."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.inner = layer.build()
        self.function = layer.forward

    def forward(self, inputs: Any) -> Any:
        assert self.function is not None
        return self.function(self.inner, inputs)
