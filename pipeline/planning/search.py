"""The layouts that a cluster can hold, the fastest first.

Each pair of tensor and pipeline parallel size, with every ZeRO stage that goes with it, is tried with micro
batches of 1, 2, 4, ... samples, without and with recomputation. Tensor parallel groups stay within a host.
What a rank holds is `pipeline.costs.memory`'s estimate, the step is `pipeline.planning.step`'s.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data_prep.contract.settings import InputError
from pipeline.costs import memory
from pipeline.costs.memory import TIGHT, Memory
from pipeline.planning.cluster import Cluster
from pipeline.planning.engine import BLOOMERY, Engine
from pipeline.planning.layout import Layout, Recompute
from pipeline.planning.step import Step, step
from pipeline.planning.task import Task


@dataclass(frozen=True)
class Wanted:
    """What a layout must be like; None leaves it open."""

    global_batch: int
    """Samples in a step."""
    tensor: int | None = None
    pipeline: int | None = None
    zero_stage: int | None = None
    micro_batch: int | None = None


@dataclass(frozen=True)
class Plan:
    """One layout with what it needs and takes."""

    task: Task
    layout: Layout
    cluster: Cluster
    memory: Memory
    step: Step

    @property
    def tokens_per_second(self) -> float:
        return self.layout.global_batch * self.task.tokens / self.step.seconds

    @property
    def mfu(self) -> float:
        """Model FLOPs, causal attention counted half and recomputation not at all, over the peak."""
        peak = self.cluster.device.peak(self.task.precision) * self.cluster.devices
        return self.layout.global_batch * self.task.sample_flops / self.step.seconds / peak

    @property
    def hfu(self) -> float:
        """The same with what is computed again."""
        again = {"none": 0.0, "selective": 0.0, "full": self.task.block_flops / 3}[self.layout.recompute]
        return self.mfu * (1 + again / self.task.sample_flops)


def best(task: Task, cluster: Cluster, wanted: Wanted, engine: Engine = BLOOMERY) -> list[Plan]:
    """Plans that fit, the fastest first, one for each way to cut the model.

    InputError where no layout can be what is wanted, or none fits.
    """
    found: dict[tuple[int, int, int], Plan] = {}
    least: tuple[int, Layout] | None = None
    full: tuple[object, ...] | None = None
    for layout, blocks in candidates(task, cluster, wanted):
        way = (layout.tensor, layout.pipeline, layout.zero_stage, layout.recompute)
        if way == full:
            continue  # with smaller micro batches it did not fit either
        need = need_of(task, layout, blocks)
        if least is None or need.total < least[0]:
            least = need.total, layout
        if need.total > TIGHT * cluster.device.memory:
            full = way
            continue
        plan = Plan(task, layout, cluster, need, step(task, layout, cluster, blocks, engine))
        if way[:3] not in found or plan.step.seconds < found[way[:3]].step.seconds:
            found[way[:3]] = plan
    if least is None:
        raise InputError(_impossible(task, cluster, wanted))
    if not found:
        raise InputError(_too_large(*least, cluster))
    return sorted(found.values(), key=lambda plan: plan.step.seconds)


def need_of(task: Task, layout: Layout, blocks: Sequence[tuple[int, int]]) -> Memory:
    """Memory of the rank that holds most; `blocks` are those of each pipeline stage.

    The first stage has most micro batches in flight, the last one the logits.
    """
    config = task.laid(layout)
    largest = max(range(len(blocks)), key=lambda stage: sum(blocks[stage]))
    needs = (
        memory.on_stage(
            config, task.lengths, config.train, task.rows, layout.data, True, stage, blocks[stage]
        )
        for stage in sorted({0, largest, len(blocks) - 1})
    )
    return max(needs, key=lambda one: one.total)


def candidates(
    task: Task, cluster: Cluster, wanted: Wanted
) -> Iterator[tuple[Layout, list[tuple[int, int]]]]:
    """Every layout there is to try, with the blocks of its stages."""
    for tensor, pipeline in sizes(task, cluster, wanted):
        data = cluster.devices // (tensor * pipeline)
        sequence = tensor > 1 and all(length % tensor == 0 for length in task.lengths)
        config = task.laid(Layout(tensor, pipeline, data, 1, 1))
        blocks = memory.stage_blocks(config, task.lengths, task.rows)
        for zero_stage in _zero_stages(pipeline, data, wanted):
            for recompute in _recomputes(task):
                for micro_batch in _micro_batches(data, wanted):
                    count = wanted.global_batch // (data * micro_batch)
                    layout = Layout(
                        tensor, pipeline, data, micro_batch, count, zero_stage, recompute, sequence
                    )
                    yield layout, blocks


def sizes(task: Task, cluster: Cluster, wanted: Wanted) -> Iterator[tuple[int, int]]:
    """Tensor and pipeline parallel sizes that model, cluster and batch allow."""
    model, devices = task.model, cluster.devices
    depth = model.layers + model.encoder_depth
    for tensor in _chosen(wanted.tensor, range(1, min(devices, cluster.device.per_host) + 1)):
        inner = model.experts.count if model.experts else model.mlp_size
        cut = [model.heads, inner, task.rows, *([model.kv_heads] if model.kv_heads > 1 else [])]
        if devices % tensor or any(size % tensor for size in cut) or cluster.device.per_host % tensor:
            continue
        for pipeline in _chosen(wanted.pipeline, range(1, depth + 1)):
            if pipeline <= depth and devices % (tensor * pipeline) == 0:
                yield tensor, pipeline


def _chosen(one: int | None, all_of_them: range) -> Sequence[int]:
    return all_of_them if one is None else [one] if one in all_of_them else []


def _zero_stages(pipeline: int, data: int, wanted: Wanted) -> list[int]:
    possible = [1] if pipeline > 1 or data == 1 else [1, 2, 3]
    return possible if wanted.zero_stage is None else [one for one in possible if one == wanted.zero_stage]


def _micro_batches(data: int, wanted: Wanted) -> list[int]:
    """Powers of two that divide what a data parallel rank gets of the batch."""
    if wanted.global_batch % data:
        return []
    share = wanted.global_batch // data
    if wanted.micro_batch is not None:
        return [wanted.micro_batch] if wanted.micro_batch > 0 and share % wanted.micro_batch == 0 else []
    return [1 << power for power in range(7) if share % (1 << power) == 0]


def _recomputes(task: Task) -> list[Recompute]:
    """Scores are kept, and so computed again, only where positions are a bias that is learned."""
    return ["none", "selective", "full"] if task.model.positions == "relative" else ["none", "full"]


def _impossible(task: Task, cluster: Cluster, wanted: Wanted) -> str:
    asked = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in vars(wanted).items()
        if value is not None and name != "global_batch"  # said before these
    ]
    model, each = task.model, cluster.device.per_host
    said = ", ".join([f"a global batch of {wanted.global_batch}", *asked])
    return (
        f"no layout of {cluster.devices} {cluster.device.name} with {said} is possible: tensor x pipeline "
        f"divides the GPUs, tensor the {each} of a host and {model.heads} heads, pipeline is at most "
        f"{model.layers + model.encoder_depth} and goes with ZeRO 1, data x micro batch divides the batch"
    )


def _too_large(least: int, layout: Layout, cluster: Cluster) -> str:
    gib, device = 1 << 30, cluster.device
    return (
        f"no layout fits: the smallest needs {least / gib:,.1f} GiB a GPU (tensor {layout.tensor}, "
        f"pipeline {layout.pipeline}, data {layout.data}, ZeRO {layout.zero_stage}, micro batch "
        f"{layout.micro_batch}, recompute {layout.recompute}), and a {device.name} has {TIGHT:.0%} of "
        f"{device.memory / gib:,.0f} GiB to give; take more or larger GPUs, or a smaller model"
    )
