"""Whether a recipe fits: its layout the processes, its memory the devices, its checkpoints the disk."""

import os
import shutil
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from launch.doctor.finding import Finding, fail, host_memory, ok, size, warn
from launch.local import choose_processes, count_gpus
from launch.recipe import Recipe
from pipeline.costs import flops, memory
from pipeline.objectives.registry import objective_of

TIGHT = 0.9
"""Share of the memory above which the estimate says nothing certain."""


@dataclass(frozen=True)
class Devices:
    """What ranks run on."""

    slots: dict[str, int]
    """Ranks that each host may run; one host of any name where there is no hostfile."""
    gpu: bool
    """Whether these are GPUs."""
    bytes_each: int
    """Memory of one GPU, or of one host that its ranks share."""


def here() -> Devices:
    """This machine's GPUs, or its memory and cores."""
    gpus = count_gpus()
    if gpus:
        import torch

        return Devices({"here": gpus}, True, torch.cuda.get_device_properties(0).total_memory)
    return Devices({"here": min(2, os.cpu_count() or 1)}, False, host_memory())


def recipe_fits(recipe: Recipe, work: Path, devices: Devices) -> list[Finding]:
    """All of this module's findings."""
    rows = flops.padded_vocabulary(vocabulary_size(recipe, work))
    found = [disk(recipe, work, rows)]
    try:
        processes = count_processes(recipe, devices)
        data_size = recipe.parallel.data_size(processes)
        recipe.train.accumulation(data_size)
    except InputError as error:
        return [
            *found,
            fail("layout", str(error), "change parallel, train.global_batch or train.micro_batch"),
        ]
    ranks = processes if len(devices.slots) == 1 else max(devices.slots.values())
    return [*found, layout(recipe, devices, processes), fits(recipe, devices, rows, data_size, ranks)]


def vocabulary_size(recipe: Recipe, work: Path) -> int:
    """Pieces of the prepared dataset's tokenizer, or of the one that the recipe asks for."""
    try:
        return Dataset(work / "dataset").manifest.vocabulary_size
    except InputError:
        given = recipe.tokenizer.model
        return Vocabulary(given).size if given else recipe.tokenizer.vocabulary_size


def count_processes(recipe: Recipe, devices: Devices) -> int:
    """Ranks that would be started."""
    slots = sum(devices.slots.values())
    if len(devices.slots) > 1:
        return slots
    return choose_processes(recipe.parallel, recipe.train, slots, exact=not devices.gpu)


def layout(recipe: Recipe, devices: Devices, processes: int) -> Finding:
    """The layout, and whether the ranks that talk most lie on one host."""
    parallel = recipe.parallel
    data = parallel.data_size(processes)
    found = (
        f"tensor {parallel.tensor} x pipeline {parallel.pipeline} x data {data} = {processes} processes, "
        f"ZeRO {parallel.zero_stage}, {recipe.train.accumulation(data)} micro batches a step"
    )
    split = split_tensor_groups(parallel.tensor, list(devices.slots.values()))
    if not split:
        return ok("layout", found)
    return warn(
        "layout",
        f"{found}; {split} tensor groups lie on several hosts",
        "tensor-parallel ranks exchange every layer's activations: make parallel.tensor divide the slots",
    )


def split_tensor_groups(tensor: int, slots: list[int]) -> int:
    """Groups of `tensor` consecutive ranks that lie on more than one host."""
    bounds = [0, *accumulate(slots)]
    inside = sum((stop // tensor) - -(-start // tensor) for start, stop in pairwise(bounds))
    return bounds[-1] // tensor - inside


def fits(recipe: Recipe, devices: Devices, rows: int, data_size: int, ranks: int) -> Finding:
    """The rank that needs most memory, against what it has: a GPU, or its share of a host with so many."""
    config = recipe.pipeline()
    lengths = objective_of(config.objective).shape(config.data).lengths
    trained = what_trains(recipe, rows)
    need = memory.peak(config, lengths, recipe.train, rows, data_size, devices.gpu, trained)
    there, wanted = devices.bytes_each, (1 if devices.gpu else ranks) * need.total
    parts = ", ".join(
        f"{name} {size(getattr(need, name))}"
        for name in ("weights", "gradients", "optimizer", "activations", "logits", "runtime")
    )
    where = "a GPU" if devices.gpu else f"a host with {ranks} ranks"
    found = f"{size(wanted)} of {size(there)} on {where} (each {parts})"
    if wanted <= TIGHT * there:
        return ok("memory", found)
    return (fail if wanted > there else warn)("memory", found, _less(recipe, need))


def what_trains(recipe: Recipe, rows: int) -> memory.Trained:
    """How much of the model is trained; only names that are frozen or adapted ask for the model's."""
    if not recipe.train.freeze and recipe.train.lora is None:
        return memory.ALL
    from pipeline.conversion.skeleton import shapes

    return memory.trained_of(shapes(recipe.pipeline(), rows), recipe.train)


def _less(recipe: Recipe, need: memory.Memory) -> str:
    """What lowers the largest part that can be lowered."""
    parallel = recipe.parallel
    states = need.weights + need.gradients + need.optimizer
    if need.activations + need.logits > states:
        if recipe.train.micro_batch > 1:
            return "lower train.micro_batch (the global batch stays), or set parallel.recompute to full"
        return "set parallel.recompute to full, or raise parallel.tensor with parallel.sequence"
    if parallel.pipeline == 1 and parallel.zero_stage < 3:
        return "raise parallel.zero_stage, parallel.tensor or parallel.pipeline"
    return "raise parallel.tensor or parallel.pipeline"


def disk(recipe: Recipe, work: Path, rows: int) -> Finding:
    """Room for the checkpoints that the recipe keeps, and one that is being written."""
    each = memory.checkpoint_bytes(recipe.pipeline(), recipe.train, rows, what_trains(recipe, rows))
    train = recipe.train
    kept = train.keep_checkpoints + 1 + (train.steps // train.keep_every if train.keep_every else 0)
    place = existing(work)
    free = shutil.disk_usage(place).free
    found = f"{size(free)} free in {place}, {kept} checkpoints of {size(each)} are {size(kept * each)}"
    if free < kept * each:
        return fail("disk", found, "make room, lower train.keep_checkpoints, or name another --work")
    if free < 2 * kept * each:
        return warn("disk", found, "tuning keeps as many, and the dataset lies there too: make room")
    return ok("disk", found)


def existing(path: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(one for one in (path.resolve(), *path.resolve().parents) if one.is_dir())
