"""Checkpoints that any layout can read: whole tensors under layout-free names, in safetensors.

    checkpoints/step-000200/
        checkpoint.json                 step, layout, where each tensor's numbers lie, files with their sha256
        weights-00000.safetensors       float32 weights: the runs of numbers that rank 0 held, flat
        optimizer-00000.safetensors     the optimizer's states of the same numbers, and small whole ones
        random-00000.safetensors        random states of that rank
        experience-00000.safetensors    the outputs that a training on its own ones is learning from

A folder named `step-N` is complete: `pipeline.checkpoints.writer` renames it when everything is there. Ranks
write what they hold as it lies; reading puts whole tensors together. Nothing is pickled.
"""

import json
import math
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from data_prep.contract.problems import first_problem
from data_prep.contract.reading import plain_name, read_json
from data_prep.contract.receipt import file_hash
from data_prep.contract.settings import InputError, Settings
from pipeline.checkpoints.loop_state import LoopState
from pipeline.checkpoints.run_folder import INDEX, checkpoint_folder, saved_steps
from pipeline.distributed.sharding import UNCUT, Cut, shard_shape, unshard
from pipeline.optim.names import AVERAGE, NARROW, WIDEN, merge

INDEX_BYTES = 4 << 30
"""Largest index: a tensor takes some hundred bytes, and as many for each rank that has a part of it."""
MOST_NUMBERS = 1 << 42
"""Most numbers of one tensor."""
SCHEMA_VERSION: Literal[2] = 2
EXPERIENCE = "experience-00000.safetensors"
"""The file of the first rank with what a training on its own outputs keeps."""
ADAM = ("exp_avg", "exp_avg_sq")
"""The states that every tensor had before there were other optimizers."""


class Part(NamedTuple):
    """A run of numbers of one flattened tensor-parallel shard."""

    rank: int
    """Rank whose files hold it."""
    shard: int
    """Tensor-parallel rank whose shard it is of."""
    start: int
    """Where in the shard it begins."""
    length: int
    """How many numbers it has."""


class TensorEntry(Settings):
    shape: list[int]
    """Shape of the whole tensor."""
    cut: Cut = UNCUT
    """How tensor-parallel ranks cut it."""
    parts: list[Part]
    """Where its numbers are; together every number once."""
    states: tuple[str, ...] = ADAM
    """The optimizer's states that lie as its numbers do; weights that were imported have none of them."""
    whole_states: dict[str, int] = Field(default_factory=dict)
    """States of shapes of their own, with the rank whose file holds all of them."""

    def problem(self) -> str:
        """What is wrong with the cut or the parts, which are every number once; empty where nothing."""
        dimensions, cut = len(self.shape), self.cut
        if any(size < 1 for size in self.shape) or math.prod(self.shape) > MOST_NUMBERS:
            return f"shape {self.shape} is that of no weight"
        if cut.shards < 1 or cut.stride < 1 or (cut.shards > 1 and not 0 <= cut.dim < dimensions):
            return f"a cut of {cut} does not go with the shape {self.shape}"
        if cut.shards > 1 and self.shape[cut.dim] % (cut.shards * cut.stride):
            return f"{cut.shards} shards do not divide the shape {self.shape}"
        each = math.prod(self.shape) // cut.shards
        reached = dict.fromkeys(range(cut.shards), 0)
        for part in sorted(self.parts, key=lambda part: (part.shard, part.start)):
            if part.length < 0 or reached.get(part.shard) != part.start:
                return f"a part begins at {part.start} of shard {part.shard}, which leaves a gap or overlaps"
            reached[part.shard] += part.length
        if any(end != each for end in reached.values()):
            return f"its parts are not all of the {each} numbers of each shard"
        return ""


class FileEntry(Settings):
    bytes: int
    """Size."""
    sha256: str
    """Hash."""


class Index(Settings):
    schema_version: Literal[2] = SCHEMA_VERSION
    """Version of this format."""
    step: int
    """Optimizer steps done."""
    updates: int
    """How many of them updated the weights; those whose numbers were not finite did not."""
    memory: LoopState = Field(default_factory=LoopState)
    """What the training loop remembers of its numbers, and the batches that it leaves out."""
    adapter_scale: float = 1.0
    """Factor on what adapters give, where the checkpoint has any."""
    layout: dict[str, int]
    """Tensor, pipeline and data parallel sizes that wrote it."""
    tensors: dict[str, TensorEntry]
    """Every parameter."""
    files: dict[str, FileEntry]
    """Every file but this one."""
    versions: dict[str, str] = Field(default_factory=dict)
    """What wrote it."""


class Checkpoint:
    """A complete checkpoint on disk. `InputError` where its index cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}
        path = folder / INDEX
        try:
            self.index = Index.model_validate(read_json(path, limit=INDEX_BYTES))
        except ValidationError as error:
            raise InputError(f"{path}: not a checkpoint index ({first_problem(error)})") from error
        except InputError:
            if path.exists():
                raise
            raise InputError(f"{folder}: not a checkpoint (no {INDEX})") from None
        for name in self.index.files:
            plain_name(name, path)

    def weight(self, name: str) -> Tensor:
        """A whole weight, float32."""
        return self._read("weights", name)

    def merged(self, name: str, average: bool = False) -> Tensor:
        """A whole weight with what its adapter adds to it, float32; or its moving average.

        `InputError` where averages are asked for and none were kept.
        """
        weight = self._averaged(name) if average else self.weight(name)
        stem = name.removesuffix("weight")
        if stem + NARROW not in self.index.tensors:
            return weight
        read = self._averaged if average else self.weight
        return merge(weight, read(stem + NARROW), read(stem + WIDEN), self.index.adapter_scale)

    def _averaged(self, name: str) -> Tensor:
        """The average of a weight; one that is frozen is its own."""
        if not any(AVERAGE in entry.states for entry in self.index.tensors.values()):
            raise InputError(f"{self.folder}: no average of the weights was kept; train with `average`")
        has_one = AVERAGE in self.index.tensors[name].states
        return self.state(name, AVERAGE) if has_one else self.weight(name)

    def state(self, name: str, kind: str) -> Tensor:
        """A whole optimizer state of a tensor; `InputError` where another optimizer wrote the checkpoint."""
        entry = self.index.tensors[name]
        if kind in entry.whole_states:
            return self._opened(f"optimizer-{entry.whole_states[kind]:05d}.safetensors", f"{name}.{kind}")
        if kind not in entry.states:
            raise InputError(
                f"{self.folder}: has no {kind} of {name}, another optimizer wrote it; start from its weights "
                "with train.start_from"
            )
        return self._read("optimizer", name, f".{kind}")

    def _read(self, file: str, name: str, suffix: str = "") -> Tensor:
        entry = self.index.tensors.get(name)
        if entry is None:
            raise InputError(f"{self.folder}: no weight is called {name}; use another checkpoint")
        if problem := entry.problem():
            raise InputError(f"{self.folder / INDEX}: {name}: {problem}; use another checkpoint")
        shape = shard_shape(entry.shape, entry.cut)
        shards = [torch.empty(math.prod(shape)) for _ in range(entry.cut.shards)]
        for part in entry.parts:
            path = f"{file}-{part.rank:05d}.safetensors"
            found = self._opened(path, name + suffix)
            if found.shape != (part.length,) or found.dtype != torch.float32:
                raise InputError(
                    f"{self.folder / path}: {name}{suffix} is {list(found.shape)} of {found.dtype}, and the "
                    f"index says {part.length} numbers of torch.float32; use another checkpoint"
                )
            shards[part.shard][part.start : part.start + part.length] = found
        return unshard([flat.view(shape) for flat in shards], entry.cut)

    def _opened(self, file: str, key: str) -> Tensor:
        path = self.folder / file
        try:
            if file not in self._files:
                self._files[file] = safe_open(path, "pt")
            return self._files[file].get_tensor(key)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: cannot be read ({error}); use an earlier checkpoint") from error

    def random_states(self, rank: int) -> dict[str, Tensor]:
        """The random states of a rank."""
        path = self.folder / f"random-{rank:05d}.safetensors"
        try:
            with safe_open(path, "pt") as opened:
                return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: cannot be read ({error}); use an earlier checkpoint") from error

    def experience(self) -> dict[str, Tensor]:
        """What a training on its own outputs keeps beside the engine; empty where it keeps nothing."""
        path = self.folder / EXPERIENCE
        if EXPERIENCE not in self.index.files:
            return {}
        try:
            with safe_open(path, "pt") as opened:
                return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: cannot be read ({error}); use an earlier checkpoint") from error

    def damage(self, share: slice = slice(None)) -> str | None:
        """What is wrong with the files in a share of the list, by size and hash; None where nothing is."""
        for name, entry in sorted(self.index.files.items())[share]:
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != entry.bytes:
                return f"{name} is missing or has not {entry.bytes} bytes"
            if file_hash(path) != entry.sha256:
                return f"{name} is corrupt (its sha256 differs)"
        return None

    def check_fits(self, shapes: dict[str, list[int]]) -> None:
        """`InputError` unless the checkpoint holds weights of these names and whole shapes."""
        for name, shape in shapes.items():
            entry = self.index.tensors.get(name)
            found = "no such weight" if entry is None else f"shape {entry.shape}"
            if entry is None or entry.shape != shape:
                raise InputError(
                    f"{self.folder}: a checkpoint of another architecture: {name} has {found} there and "
                    f"shape {shape} in the recipe; use the model section of the recipe that made it"
                )


def complete(run: Path) -> list[Path]:
    """The folders of complete checkpoints of a run, oldest first."""
    return [checkpoint_folder(run, step) for step in saved_steps(run)]


def describe(folder: Path) -> dict[str, object]:
    """What a checkpoint holds, for `bloomery inspect`."""
    index = Checkpoint(folder).index
    parameters = sum(math.prod(entry.shape) for entry in index.tensors.values())
    return json.loads(index.model_dump_json(exclude={"files", "tensors"})) | {
        "parameters": parameters,
        "bytes": sum(entry.bytes for entry in index.files.values()),
        "tensors": {name: entry.shape for name, entry in index.tensors.items()},
    }
