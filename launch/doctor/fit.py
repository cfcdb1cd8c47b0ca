"""Whether a recipe fits: its layout the processes, its memory the devices, its checkpoints the disk."""

import shutil
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.settings import InputError
from data_prep.contract.stages import Source, Stage
from data_prep.contract.vocabulary import Vocabulary
from launch.doctor.finding import Finding, fail, host_memory, ok, size, warn
from launch.graph import Graph, graph
from launch.local import available, choose_processes, count_gpus
from launch.recipe import Recipe
from pipeline.checkpoints.run_folder import read_config
from pipeline.config import PipelineConfig
from pipeline.costs import flops, memory
from pipeline.costs.memory import TIGHT
from pipeline.objectives.registry import objective_of
from pipeline.stages.training import Training, check_rows, config_of, find_start


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
    return Devices({"here": available(gpus)}, False, host_memory())


def recipe_fits(recipe: Recipe, work: Path, devices: Devices) -> list[Finding]:
    """All of this module's findings, of every stage that trains."""
    found = graph(recipe, work)
    stages = trainings(recipe, found)
    return [
        replace(one, name=one.name if len(stages) == 1 else f"{one.name} {stage.name}")
        for stage in stages
        for one in stage_fits(recipe, found, stage, devices)
    ]


def trainings(recipe: Recipe, found: Graph) -> list[Stage]:
    """The stages that train; of the usual ones the first, whose model and layout tuning has too."""
    stages = [stage for stage in found.with_needs() if found.kind(stage).trains]
    return stages if recipe.stages else stages[:1]


def stage_fits(recipe: Recipe, found: Graph, stage: Stage, devices: Devices) -> list[Finding]:
    """The layout, the memory and the disk of one training."""
    config, pieces = config_of(stage), vocabulary_size(recipe, found, stage)
    rows = flops.padded_vocabulary(pieces)
    room = disk(config, stage.work, rows)
    try:
        processes = count_processes(config, devices)
        data_size = config.parallel.data_size(processes)
        config.train.accumulation(data_size)
        check_rows(config.parallel.tensor, pieces)
    except InputError as error:
        advice = "change parallel, train.global_batch or train.micro_batch"
        return [room, fail("layout", str(error), advice)]
    ranks = processes if len(devices.slots) == 1 else max(devices.slots.values())
    beside = sum(
        companion(found, stage, config, one, rows, data_size, devices.gpu)
        for one in companions_of(found, stage)
    )
    return [room, layout(config, devices, processes), fits(config, devices, rows, data_size, ranks, beside)]


def companions_of(found: Graph, stage: Stage) -> list[Source]:
    """The frozen models that a stage has beside the one that learns."""
    kind = found.kind(stage)
    assert isinstance(kind, Training)
    return [source for key in kind.companions for source in stage.inputs.get(key, ())]


def companion(
    found: Graph,
    stage: Stage,
    config: PipelineConfig,
    source: Source,
    rows: int,
    data_size: int,
    gpu: bool,
) -> int:
    """Bytes of one of them on a rank, with its logits of a whole step."""
    theirs = config_of(found.stages[source.stage]) if source.stage else read_config(find_start(source)[1])
    theirs = theirs.model_copy(update={"parallel": config.parallel, "data": config.data})
    lengths = objective_of(theirs.objective).shape(config.data).lengths
    width, train = memory.bytes_per_value(config.train, gpu), config.train
    samples = train.micro_batch * train.accumulation(data_size)
    return memory.companion_bytes(theirs, lengths, rows, width, samples)


def vocabulary_size(recipe: Recipe, found: Graph, stage: Stage) -> int:
    """Pieces of the tokenizer of what a stage reads, or of the one that the recipe asks for."""
    for source in (stage.source("data"), stage.source("from")):
        if source and (source.path / TOKENIZER).is_file():
            return Vocabulary(source.path / TOKENIZER).size
        if source and source.stage:
            return vocabulary_size(recipe, found, found.stages[source.stage])
    given = recipe.tokenizer.model
    return Vocabulary(given).size if given else recipe.tokenizer.vocabulary_size


def count_processes(config: PipelineConfig, devices: Devices) -> int:
    """Ranks that would be started."""
    slots = sum(devices.slots.values())
    if len(devices.slots) > 1:
        return slots
    return choose_processes(config.parallel, config.train, slots, exact=not devices.gpu)


def layout(config: PipelineConfig, devices: Devices, processes: int) -> Finding:
    """The layout, and whether the ranks that talk most lie on one host."""
    parallel = config.parallel
    data = parallel.data_size(processes)
    found = (
        f"tensor {parallel.tensor} x pipeline {parallel.pipeline} x data {data} = {processes} processes, "
        f"ZeRO {parallel.zero_stage}, {config.train.accumulation(data)} micro batches a step"
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


def fits(
    config: PipelineConfig, devices: Devices, rows: int, data_size: int, ranks: int, beside: int
) -> Finding:
    """The rank that needs most memory, against what it has: a GPU, or its share of a host with so many."""
    lengths = objective_of(config.objective).shape(config.data).lengths
    need = memory.peak(config, lengths, config.train, rows, data_size, devices.gpu, what_trains(config, rows))
    there, wanted = devices.bytes_each, (1 if devices.gpu else ranks) * (need.total + beside)
    parts = ", ".join(
        f"{name} {size(getattr(need, name))}"
        for name in ("weights", "gradients", "optimizer", "activations", "logits", "runtime")
    )
    parts += f", companions {size(beside)}" if beside else ""
    where = "a GPU" if devices.gpu else f"a host with {ranks} ranks"
    found = f"{size(wanted)} of {size(there)} on {where} (each {parts})"
    if wanted <= TIGHT * there:
        return ok("memory", found)
    return (fail if wanted > there else warn)("memory", found, _less(config, need))


def what_trains(config: PipelineConfig, rows: int) -> memory.Trained:
    """How much of the model is trained; only names that are frozen or adapted ask for the model's."""
    if not config.train.freeze and config.train.lora is None:
        return memory.ALL
    from pipeline.conversion.skeleton import shapes

    return memory.trained_of(shapes(config, rows), config.train)


def _less(config: PipelineConfig, need: memory.Memory) -> str:
    """What lowers the largest part that can be lowered."""
    parallel = config.parallel
    states = need.weights + need.gradients + need.optimizer
    if need.activations + need.logits > states:
        if config.train.micro_batch > 1:
            return "lower train.micro_batch (the global batch stays), or set parallel.recompute to full"
        return "set parallel.recompute to full, or raise parallel.tensor with parallel.sequence"
    if parallel.pipeline == 1 and parallel.zero_stage < 3:
        return "raise parallel.zero_stage, parallel.tensor or parallel.pipeline"
    return "raise parallel.tensor or parallel.pipeline"


def disk(config: PipelineConfig, work: Path, rows: int) -> Finding:
    """Room for the checkpoints that the recipe keeps, and one that is being written."""
    each = memory.checkpoint_bytes(config, config.train, rows, what_trains(config, rows))
    train = config.train
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
