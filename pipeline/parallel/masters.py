"""Where a DeepSpeed engine keeps the numbers that its optimizer updates, whatever the ZeRO stage.

This is the one place that knows how DeepSpeed lays them out. The optimizer steps on `masters`: the parameters
themselves (stage 0), or this rank's flat float32 partitions of groups of them. Of each parameter a rank holds
one run of numbers: all of it (stage 0), what a partition covers of it (1 and 2), an equal share (3).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from torch import Tensor, nn

from pipeline.distributed import sharding
from pipeline.distributed.world import World
from pipeline.optim.build import PieceOptimizer
from pipeline.optim.groups import GroupKey
from pipeline.optim.names import AVERAGE
from pipeline.optim.pieces import Piece, Reach
from pipeline.optim.rules import RULES


class Run(NamedTuple):
    """What this rank holds of a parameter."""

    master: Tensor
    """The tensor it lies in."""
    offset: int
    """Where in that it begins."""
    start: int
    """Where in the flattened tensor-parallel shard it begins."""
    length: int
    """How many numbers it has."""


class Masters:
    """The tensors that an engine's optimizer steps on, and its states of them."""

    def __init__(
        self,
        optimizer: Any,
        parameters: Mapping[str, nn.Parameter],
        keys: Mapping[str, GroupKey],
        zero_stage: int,
        world: World,
        averaged: bool = False,
    ) -> None:
        """`optimizer` is the engine's, `parameters` those that are trained and `keys` their groups'.

        `averaged` says that an average of the weights is kept.
        """
        self.optimizer, self.parameters = optimizer, parameters
        self.rules = {name: key.rule for name, key in keys.items()}
        self._averaged = averaged
        self.zero_stage, self.world = zero_stage, world
        self.inner: torch.optim.Optimizer = optimizer.optimizer if zero_stage else optimizer
        self._names = {id(parameter): name for name, parameter in parameters.items()}

    def _groups(self) -> list[tuple[Tensor, list[nn.Parameter]]]:
        """Each master with the parameters of which ranks hold pieces in it, in one order on all ranks."""
        if self.zero_stage == 0:
            return [(parameter, [parameter]) for parameter in self.parameters.values()]
        if self.zero_stage == 3:
            return list(
                zip(self.optimizer.fp32_partitioned_groups_flat, self.optimizer.fp16_groups, strict=True)
            )
        return list(
            zip(self.optimizer.single_partition_of_fp32_groups, self.optimizer.bit16_groups, strict=True)
        )

    def run(self, parameter: nn.Parameter) -> Run | None:
        """This rank's run of a parameter; None where it has none.

        A frozen one, which no optimizer knows, lies in the parameter itself or its share of it (stage 3).
        """
        if id(parameter) not in self._names:
            return self._run_of_frozen(parameter)
        if self.zero_stage == 0:
            return Run(parameter, 0, 0, parameter.numel())
        if self.zero_stage == 3:
            return self._run_of_stage_3(parameter)
        fragment = parameter._hp_mapping
        if fragment is None:
            return None
        master = self.optimizer.single_partition_of_fp32_groups[fragment.param_group_index]
        place = fragment.hp_fragment_address
        return Run(master, place.start, fragment.lp_fragment_address.start, place.numel)

    def _run_of_stage_3(self, parameter: nn.Parameter) -> Run | None:
        group, offset, size = self.optimizer.grad_position[self.optimizer.get_param_id(parameter)]
        return self._share(parameter, self.optimizer.fp32_partitioned_groups_flat[group], offset, size)

    def _run_of_frozen(self, parameter: nn.Parameter) -> Run | None:
        if self.zero_stage < 3:
            return Run(parameter, 0, 0, parameter.numel())
        return self._share(parameter, parameter.ds_tensor, 0, parameter.ds_tensor.numel())

    def _share(self, parameter: nn.Parameter, master: Tensor, offset: int, size: int) -> Run | None:
        """Equal shares in rank order; the last ones are padded where the numbers do not divide."""
        start = size * self.world.data_rank
        length = min(size, parameter.ds_numel - start)
        return Run(master, offset, start, length) if length > 0 else None

    def is_whole(self, parameter: nn.Parameter) -> bool:
        """Whether every data-parallel rank holds the whole run, as they hold copies of one another."""
        return self.zero_stage == 0 or (self.zero_stage < 3 and id(parameter) not in self._names)

    def states(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """Flat views of the states of this rank's run, by name."""
        name, run = self._names.get(id(parameter)), self.run(parameter)
        if name is None or run is None:
            return {}
        state = self.inner.state[run.master]
        return {kind: view(state[kind], run) for kind in self.kinds(name)}

    def kinds(self, name: str) -> tuple[str, ...]:
        """The states of a parameter that have a number for each of its own."""
        if name not in self.rules:
            return ()
        return RULES[self.rules[name]].states + ((AVERAGE,) if self._averaged else ())

    def whole_states(self, name: str) -> dict[str, Tensor]:
        """Small states of a parameter that have shapes of their own, the same on every rank that has it."""
        return self.inner.whole_states.get(name, {}) if isinstance(self.inner, PieceOptimizer) else {}

    def allocate(self) -> None:
        """Give every master the states that a first step would create.

        Then there is something to restore into, and DeepSpeed links every group's state: by itself it links
        all groups after the first one's first step, when the others have none yet.
        """
        ours = isinstance(self.inner, PieceOptimizer)
        for master, parameters in self._groups():
            kinds = self.kinds(self._names[id(parameters[0])])
            # Torch's fused kernel counts steps where the numbers are; our rules need the count in Python.
            step = torch.zeros((), dtype=torch.float32, device="cpu" if ours else master.device)
            states = {kind: torch.zeros_like(master) for kind in kinds}
            if AVERAGE in states:
                states[AVERAGE].copy_(master.detach())
            self.inner.state[master] = {"step": step} | states
        if self.zero_stage in (1, 2):
            self.optimizer._lazy_init_hp_params_optimizer_state()
        if isinstance(self.inner, PieceOptimizer):
            self._bind(self.inner)

    def _bind(self, inner: PieceOptimizer) -> None:
        alone = self._alone()
        pieces = []
        for master, parameters in self._groups():
            names = [self._names[id(parameter)] for parameter in parameters]
            pieces.append((master, [self._piece(name, alone[name]) for name in names]))
            for name in names:
                shape = sharding.whole_shape(self.parameters[name], self.world.tensor_size)
                inner.whole_states[name] = {
                    kind: torch.zeros(size, device=master.device)
                    for kind, size in RULES[self.rules[name]].whole_states(shape).items()
                }
        data = (
            parallel_state.get_data_parallel_group() if self.zero_stage and self.world.data_size > 1 else None
        )
        tensor = parallel_state.get_tensor_model_parallel_group()
        inner.bind(pieces, Reach(data, tensor, self.world.device))

    def _piece(self, name: str, alone: bool) -> Piece:
        parameter = self.parameters[name]
        run, size = self.run(parameter), self.world.tensor_size
        _, offset, start, length = run or (None, 0, 0, 0)
        shape = tuple(sharding.whole_shape(parameter, size))
        cut = sharding.cut_of(parameter, size)
        return Piece(name, shape, cut, self.world.tensor_rank, start, length, offset, alone)

    def _alone(self) -> dict[str, bool]:
        """Of each parameter whether one data-parallel rank holds all of this tensor rank's shard."""
        runs = [self.run(parameter) for parameter in self.parameters.values()]
        most = torch.tensor([run.length if run else 0 for run in runs], device=self.world.device)
        dist.all_reduce(most, op=dist.ReduceOp.MAX, group=parallel_state.get_data_parallel_group())
        sizes = [getattr(p, "ds_numel", p.numel()) for p in self.parameters.values()]
        return {
            name: longest == size
            for name, longest, size in zip(self.parameters, most.tolist(), sizes, strict=True)
        }

    def set_steps(self, steps: int) -> None:
        """Tell the optimizer how many steps it has taken, for its bias correction."""
        for master, _ in self._groups():
            self.inner.state[master]["step"].fill_(float(steps))

    @torch.no_grad()
    def bound(self) -> None:
        """Keep parameters that have a bound, `most`, below it, and their masters."""
        for parameter in self.parameters.values():
            most = getattr(parameter, "most", None)
            if most is None:
                continue
            run = self.run(parameter)
            if run is not None:
                view(run.master, run).clamp_(max=most)
            held = parameter.ds_tensor if self.zero_stage == 3 else parameter
            held.data.clamp_(max=most)

    def steps_taken(self) -> int:
        """How many steps the optimizer has taken."""
        return max(int(self.inner.state[master]["step"]) for master, _ in self._groups())


def view(flat: Tensor, run: Run) -> Tensor:
    """A run's part of a master or of a state of it."""
    return flat.detach().view(-1)[run.offset : run.offset + run.length]
