"""A rank's share of a checkpoint, copied to host memory so that training can go on while it is written.

The buffers are made once and used by every checkpoint. Over all ranks they hold float32 weights and the
optimizer's states (12 bytes a parameter with Adam's two) beside nothing else: no tensor is gathered for them.
On GPUs they are pinned and the copies run behind the computation.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.checkpoints.format import Part, TensorEntry
from pipeline.distributed import randomness, sharding
from pipeline.parallel import state
from pipeline.parallel.engine import Engine


@dataclass(frozen=True)
class Snapshot:
    """What one rank writes."""

    files: dict[str, dict[str, Tensor]]
    """Tensors by key for each kind of file: weights, optimizer, random."""
    tensors: dict[str, TensorEntry]
    """This rank's part of every tensor that it has one of."""
    copied: torch.cuda.Event | None
    """Passed when the copies from the GPU are done; None where they are."""

    def wait(self) -> None:
        """Until the contents are there."""
        if self.copied is not None:
            self.copied.synchronize()


class Buffers:
    """The host memory of a rank's snapshots; one of them at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        numbers = sum(flat.numel() for _, held in state.share(engine) for flat in held.tensors.values())
        numbers += sum(whole.numel() for *_, whole in state.whole_share(engine))
        pinned = engine.world.device.type == "cuda"
        # Filled now, so that memory that is not there is missed before the first step, not in a save.
        self._flat = torch.zeros(numbers, pin_memory=pinned)
        self._used = 0

    @property
    def bytes(self) -> int:
        """Size of this rank's share, but for its random states."""
        return int(self._flat.nbytes)

    @torch.no_grad()
    def take(self) -> Snapshot:
        """Copy what this rank holds now; no other rank is asked for anything."""
        files: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizer": {}, "random": randomness.states()}
        tensors: dict[str, TensorEntry] = {}
        self._used = 0
        for name, held in state.share(self.engine):
            for kind, flat in held.tensors.items():
                file, key = ("weights", name) if kind == state.WEIGHT else ("optimizer", f"{name}.{kind}")
                files[file][key] = self._copy(flat)
            tensors[name] = self._entry(name, held)
        for name, kind, whole in state.whole_share(self.engine):
            files["optimizer"][f"{name}.{kind}"] = self._copy(whole)
            tensors[name] = self._with_whole(tensors.get(name) or self._entry(name, None), kind)
        return Snapshot(files, tensors, self._event())

    def _copy(self, tensor: Tensor) -> Tensor:
        begin, self._used = self._used, self._used + tensor.numel()
        return self._flat[begin : self._used].view_as(tensor).copy_(tensor, non_blocking=True)

    def _entry(self, name: str, held: state.Held | None) -> TensorEntry:
        """What the index says of a parameter that this rank has a run of, or has whole states of alone."""
        world, parameter = self.engine.world, self.engine.parameters[name]
        cut = sharding.cut_of(parameter, world.tensor_size)
        shard, parts = sharding.own_shard(parameter, world.tensor_rank) if cut.shards > 1 else 0, []
        if held is not None:
            parts = [Part(world.rank, shard, held.start, held.tensors[state.WEIGHT].numel())]
        shape = list(sharding.whole_shape(parameter, world.tensor_size))
        return TensorEntry(shape=shape, cut=cut, parts=parts, states=self.engine.masters.kinds(name))

    def _with_whole(self, entry: TensorEntry, kind: str) -> TensorEntry:
        states = entry.whole_states | {kind: self.engine.world.rank}
        return entry.model_copy(update={"whole_states": states})

    def _event(self) -> torch.cuda.Event | None:
        if self.engine.world.device.type != "cuda":
            return None
        event = torch.cuda.Event()
        event.record()
        return event
