"""A rank's share of a checkpoint, copied to host memory so that training can go on while it is written.

The buffers are made once and used by every checkpoint. Over all ranks they hold 12 bytes a parameter (a
float32 weight and Adam's two moments), beside nothing else: no tensor is gathered for them. On GPUs they are
pinned and the copies run behind the computation.
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
        numbers = sum(held.tensors["weight"].numel() for _, held in state.share(engine))
        pinned = engine.world.device.type == "cuda"
        # Filled now, so that memory that is not there is missed before the first step, not in a save.
        self._flat = torch.zeros(3, numbers, pin_memory=pinned)

    @property
    def bytes(self) -> int:
        """Size of this rank's share, but for its random states."""
        return int(self._flat.nbytes)

    @torch.no_grad()
    def take(self) -> Snapshot:
        """Copy what this rank holds now; no other rank is asked for anything."""
        world = self.engine.world
        files: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizer": {}, "random": randomness.states()}
        tensors: dict[str, TensorEntry] = {}
        begin = 0
        for name, held in state.share(self.engine):
            end = begin + held.tensors["weight"].numel()
            for row, (kind, flat) in zip(self._flat, held.tensors.items(), strict=True):
                copy = row[begin:end].copy_(flat, non_blocking=True)
                file, key = ("weights", name) if kind == "weight" else ("optimizer", f"{name}.{kind}")
                files[file][key] = copy
            parameter = self.engine.parameters[name]
            cut = sharding.cut_of(parameter, world.tensor_size)
            part = Part(world.rank, world.tensor_rank if cut.shards > 1 else 0, held.start, end - begin)
            shape = list(sharding.whole_shape(parameter, world.tensor_size))
            tensors[name] = TensorEntry(shape=shape, cut=cut, parts=[part])
            begin = end
        return Snapshot(files, tensors, self._event())

    def _event(self) -> torch.cuda.Event | None:
        if self.engine.world.device.type != "cuda":
            return None
        event = torch.cuda.Event()
        event.record()
        return event
