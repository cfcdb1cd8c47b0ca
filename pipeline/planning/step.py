"""Seconds of a training step in a layout, as the sum of its parts.

With p pipeline stages and m micro batches the stages work (m + (p - 1) / v) times as long as a micro batch
takes in the slowest of them, v the runs of layers on each (Narayanan et al. 2021, section 2.2). What is
exchanged is added where it cannot hide behind the computation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.costs import memory
from pipeline.planning.block import Block
from pipeline.planning.calibration import JITTER, OPTIMIZER_BYTES
from pipeline.planning.cluster import Cluster
from pipeline.planning.engine import BLOOMERY, Engine
from pipeline.planning.kernels import Gpu, Product
from pipeline.planning.layout import Layout
from pipeline.planning.task import Task

LOSS_BYTES = 24
"""Memory traffic of a logit: widened, exponential and sum, gradient and its narrow copy."""


@dataclass(frozen=True)
class Step:
    """Seconds of a step by what they go to."""

    products: float
    attention: float
    elementwise: float
    recomputed: float
    tensor: float
    """Exchanges of tensor parallel ranks that nothing hides."""
    transfers: float
    """Between pipeline stages."""
    bubble: float
    """Pipeline stages that wait for their first and behind their last micro batch."""
    data: float
    """Exchanges of gradients and weights that nothing hides."""
    optimizer: float
    """The optimizer's step, and adding up the gradients of micro batches."""
    stragglers: float
    """Waiting for the slowest host."""

    @property
    def seconds(self) -> float:
        return sum(vars(self).values())


def step(
    task: Task, layout: Layout, cluster: Cluster, blocks: Sequence[tuple[int, int]], engine: Engine = BLOOMERY
) -> Step:
    """A step of `layout`; `blocks` are those of the encoder and of the main stack on each pipeline stage."""
    gpu = Gpu(cluster.device, task.precision)
    outer, inner = (Block(task.model, task.lengths, one, layout, engine, gpu) for one in (False, True))
    head = _head(task, layout, gpu)
    times = [
        _stage(one, outer, inner, head if i == len(blocks) - 1 else 0.0, layout, cluster, engine)
        for i, one in enumerate(blocks)
    ]
    slowest = max(times, key=lambda one: one.total)
    count, spread = layout.micro_batches, (layout.pipeline - 1) / layout.chunks
    mean = sum(one.total for one in times) / len(times)
    send = _transfers(task, layout, cluster, engine)
    parameters = _parameters(task, layout, blocks)
    adding = gpu.move(engine.accumulation_bytes * parameters) * (count - 1)
    layers, busy = max(1, sum(map(sum, blocks))), count * slowest.total
    data, optimizer = _update(parameters, layers, layout, cluster, gpu, engine, slowest, busy)
    found = Step(
        products=count * slowest.products,
        attention=count * slowest.attention,
        elementwise=count * slowest.elementwise,
        recomputed=count * slowest.recomputed,
        tensor=count * slowest.tensor,
        transfers=count * send,
        bubble=spread * (mean + send),
        data=data,
        optimizer=optimizer + adding,
        stragglers=0.0,
    )
    replicas = min(cluster.hosts, max(1, layout.ranks // cluster.device.per_host))
    wait = JITTER * math.sqrt(2 * math.log(replicas)) * found.seconds
    return Step(**{**vars(found), "stragglers": wait})


@dataclass(frozen=True)
class _Stage:
    """Seconds of one stage and one micro batch."""

    products: float
    attention: float
    elementwise: float
    recomputed: float
    tensor: float
    backward: float

    @property
    def total(self) -> float:
        return self.products + self.attention + self.elementwise + self.recomputed + self.tensor


def _stage(
    counts: tuple[int, int],
    outer: Block,
    inner: Block,
    head: float,
    layout: Layout,
    cluster: Cluster,
    engine: Engine,
) -> _Stage:
    """`counts` blocks of the encoder and of the main stack."""
    products = attention = elementwise = recomputed = tensor = backward = 0.0
    for count, block in zip(counts, (inner, outer), strict=True):
        if not count:
            continue
        forward, back = block.forward(), block.backward()
        products += count * (forward.products + back.products)
        attention += count * (forward.attention + back.attention)
        elementwise += count * (forward.elementwise + back.elementwise)
        size = block.gpu.width * block.tokens * block.model.hidden_size
        sums = count * block.exchanges() * cluster.reduce(size, layout.tensor, 1)
        again = 1 if layout.recompute == "full" else 0
        tensor += sums * (1 + again + 1 - engine.tensor_hidden)
        if layout.recompute == "full":
            recomputed += count * forward.total
        elif layout.recompute == "selective":
            recomputed += count * forward.attention
        backward += count * back.total
    return _Stage(products + head, attention, elementwise, recomputed, tensor, backward + head * 2 / 3)


def _head(task: Task, layout: Layout, gpu: Gpu) -> float:
    """The output head and its loss, forward and backward."""
    tokens = layout.micro_batch * (task.lengths.targets or task.lengths.inputs)
    product = Product(tokens, task.rows / layout.tensor, task.model.word_size or task.model.hidden_size)
    return gpu.multiply(product) + gpu.train(product) + gpu.move(LOSS_BYTES * product.rows * product.columns)


def _transfers(task: Task, layout: Layout, cluster: Cluster, engine: Engine) -> float:
    """What a stage sends and waits for in a micro batch, forward and backward."""
    if layout.pipeline == 1:
        return 0.0
    width = 4 if task.precision == "float32" else 2
    size: float = width * layout.micro_batch * task.tokens * task.model.hidden_size
    if engine.split_transfers or layout.sequence:
        size /= layout.tensor
    return 2 * layout.chunks * cluster.send(size, layout.tensor * layout.data)


def _parameters(task: Task, layout: Layout, blocks: Sequence[tuple[int, int]]) -> float:
    """Of the rank that has most."""
    config = task.laid(layout)
    held = (memory.stage_parameters(config, task.rows, stage, one) for stage, one in enumerate(blocks))
    return max(held) / layout.tensor


def _update(
    parameters: float,
    layers: int,
    layout: Layout,
    cluster: Cluster,
    gpu: Gpu,
    engine: Engine,
    stage: _Stage,
    busy: float,
) -> tuple[float, float]:
    """Exchanges of gradients and weights that nothing hides, and the optimizer."""
    data, stride = layout.data, layout.tensor
    size, width = parameters * engine.gradient_bytes, parameters * gpu.width
    optimizer = gpu.move(OPTIMIZER_BYTES * parameters / (data if layout.zero_stage else 1))
    if layout.zero_stage == 3:
        # Layer by layer: weights before the forward and the backward pass, then gradients.
        each = 2 * cluster.gather(width / layers, data, stride) + cluster.gather(size / layers, data, stride)
        moved = layout.micro_batches * layers * each / engine.gather_share
        return max(0.0, moved - engine.gather_hidden * busy), optimizer
    if layout.zero_stage == 0:
        moved = cluster.reduce(size, data, stride)
        return max(0.0, moved - engine.reduce_hidden * stage.backward), optimizer
    times = layout.micro_batches if layout.zero_stage == 2 else 1
    moved = times * cluster.gather(size, data, stride)
    exposed = max(0.0, moved - engine.reduce_hidden * times * stage.backward)
    return exposed + cluster.gather(width, data, stride), optimizer
