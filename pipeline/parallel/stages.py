"""The list of layers as pipeline stages.

Every parameter has the name that it has in `Stack`, `LAYER.PARAMETER`, so that weights can go from one to the
other. Between stages DeepSpeed sends tuples of tensors; their names follow from the layers before them.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, chain, pairwise
from typing import Any

from deepspeed.pipe import LayerSpec, PipelineModule, TiedLayerSpec
from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology
from deepspeed.runtime.utils import partition_balanced
from torch import Tensor, nn

from pipeline.config import ParallelConfig
from pipeline.distributed.world import World
from pipeline.models.layer import FLOATS, Flow, Layer
from pipeline.parallel.stack import NamedParameters, calls, run


class Stages(PipelineModule):
    """The layers of this process's pipeline stage; stages are cut to cost about the same."""

    def __init__(
        self, layers: list[Layer], world: World, parallel: ParallelConfig, loss: Callable[[Any, Any], Any]
    ) -> None:
        stages = stage_layers(layers, world.pipeline_size)
        self._bounds = [0, *accumulate(len(stage) for stage in stages)]
        self.own = stages[world.pipeline_rank]
        self.before = list(chain(*stages[: world.pipeline_rank]))
        topology = PipeModelDataParallelTopology(
            num_pp=world.pipeline_size, num_mp=world.tensor_size, num_dp=world.data_size
        )
        super().__init__([_spec(layer) for layer in chain(*stages)], topology=topology, loss_fn=loss)
        for tied in self.tied_comms.values():
            tied["weight_attr"] = [name for name, _ in tied["module"].named_parameters()]
        self._modules_in_turn = [self._module(layer, index) for index, layer in enumerate(self.own)]
        self._calls = calls(self.own, self._modules_in_turn, parallel)
        self.anchors = nn.ParameterList()  # see `pipeline.parallel.freezing`
        self._names_in: list[str] = []
        self._names_out: list[str] = []

    def _partition_layers(self, method: str = "cost") -> None:
        self.parts = self._bounds
        stage = self._topo.get_coord(self.global_rank).pipe
        self._set_bounds(start=self.parts[stage], stop=self.parts[stage + 1])

    def _module(self, layer: Layer, index: int) -> Any:
        if layer.tie:
            return self.tied_modules[layer.tie]
        return getattr(self, str(self._local_start + index))

    def expect(self, names: Iterable[str]) -> None:
        """Tell the stage which inputs the batches have, in the order in which they come."""
        self._names_in = stage_inputs(self.before, names)
        self._names_out = stage_inputs([*self.before, *self.own], names)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | Flow:
        """What the stage before sent to what the next one needs; the last stage gives the outputs by name."""
        flow = self.run(dict(zip(self._names_in, inputs, strict=True)))
        if self._local_stop == self._num_layers:
            return flow
        return tuple(self._anchored(flow[name]) for name in self._names_out)

    def _anchored(self, sent: Tensor) -> Tensor:
        """What the next stage sends a gradient of, which must lead somewhere where this one is frozen."""
        if sent.requires_grad or not (self.training and sent.is_floating_point()):
            return sent
        return sent + 0.0 * self.anchors[0].sum() if len(self.anchors) else sent.detach().requires_grad_()

    def run(self, flow: Flow) -> Flow:
        """This stage's layers, from tensors by name to tensors by name."""
        return run(self._calls, flow)

    def layers(self) -> Iterator[tuple[str, nn.Module]]:
        """Every layer of this stage by name; a tied one on every stage that has it, and there once."""
        seen: set[str] = set()
        for layer, module in zip(self.own, self._modules_in_turn, strict=True):
            if layer.tie in seen:
                continue
            if layer.tie:
                seen.add(layer.tie)
            yield layer.name, module

    def named(self) -> NamedParameters:
        """This stage's parameters under their layout-free names."""
        for name, module in self.layers():
            for inner, parameter in module.named_parameters():
                yield f"{name}.{inner}", parameter


def stage_inputs(layers: Iterable[Layer], inputs: Iterable[str]) -> list[str]:
    """The names that leave the last of these layers for the next stage: those with gradients first.

    DeepSpeed finds a gradient's buffer by its place among all tensors, so integers in front of floats would
    mix them up.
    """
    names = list(inputs)
    for layer in layers:
        added = [name for name in layer.gives if name not in names and not layer.local]
        names = [name for name in [*names, *added] if name not in layer.ends]
    return sorted(names, key=lambda name: FLOATS.index(name) if name in FLOATS else len(FLOATS))


def input_names(layers: Iterable[Layer]) -> set[str]:
    """What layers read of a batch: the names that they end, some of which layers have made."""
    return {name for layer in layers for name in layer.ends}


def stage_layers(layers: list[Layer], stages: int) -> list[list[Layer]]:
    """The layers of each stage; a local layer stands in every stage that uses what it gives, and in no other.

    A tied weight that a stage had and did not use would have no gradient there, which DeepSpeed leaves out of
    the sum over stages: the others would wait for it.
    """
    bounds = stage_bounds([layer.cost for layer in layers], stages)
    found = []
    for start, stop in pairwise(bounds):
        again = [
            layer
            for index, layer in enumerate(layers[:start])
            if layer.local and not any(layer.gives[0] in later.ends for later in layers[index:start])
        ]
        stage = [*again, *layers[start:stop]]
        found.append(
            [layer for i, layer in enumerate(stage) if not layer.local or is_used(layer, stage[i + 1 :])]
        )
    return found


def is_used(local: Layer, after: Iterable[Layer]) -> bool:
    """Whether a block among the layers after it in its stage takes what a local layer gives."""
    for layer in after:
        if layer.block or local.gives[0] in layer.ends:
            return layer.block
    return False


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
        # The parameters that it sums gradients of are named when they are there, which is above.
        return TiedLayerSpec(layer.tie, layer.module, *layer.arguments, tied_weight_attr=[])
    return LayerSpec(layer.module, *layer.arguments)
