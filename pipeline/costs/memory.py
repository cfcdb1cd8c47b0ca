"""Memory of one rank of a layout at the peak of a step, in bytes, computed without building the model.

- Weights, gradients and optimizer states follow ZeRO (Rajbhandari et al., 2020, section 3): AdamW keeps
  float32 weights and two moments, 12 bytes a parameter (Muon one in blocks, Adafactor next to none); stage 1
  divides these over the data-parallel ranks, stage 2 gradients too, stage 3 weights too.
- What blocks keep for the backward pass is in `pipeline.costs.activations`. Stage i of p pipeline stages
  keeps it of up to p - i micro batches (1F1B; Narayanan et al., 2021, section 2.2).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.config import OptimizerConfig, PipelineConfig
from pipeline.costs import activations, flops
from pipeline.costs.lengths import Lengths
from pipeline.optim.names import fits, is_trained

REDUCE_BUCKET = 40_000_000
"""Most elements of a buffer for exchanging gradients, as Megatron-core has it: large enough to be worth a
message, small enough that most of them are on their way before the backward pass ends."""
LIVE_PARAMETERS = 1_000_000_000
"""Parameters that ZeRO-3 leaves gathered (zero_optimization.stage3_max_live_parameters)."""
TIGHT = 0.9
"""Share of the memory above which the estimate says nothing certain."""
GPU_RUNTIME, CPU_RUNTIME = 2 << 30, 1 << 30
"""A process itself: CUDA's context, NCCL's buffers and the allocator's slack; or Python and torch."""


@dataclass(frozen=True)
class Trained:
    """How much of a model a training trains."""

    share: float = 1.0
    """Of the model's own parameters, those that are not frozen."""
    adapters: int = 0
    """Parameters of adapters beside them."""


ALL = Trained()


def trained_of(shapes: Mapping[str, Sequence[int]], optim: OptimizerConfig) -> Trained:
    """What is trained of a model whose parameters have these whole shapes, by name.

    Any matrix that fits a target counts as a linear layer's.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    kept = sum(size for name, size in sizes.items() if is_trained(name, optim))
    adapted = [
        shape
        for name, shape in shapes.items()
        if optim.lora and len(shape) == 2 and fits(name.removesuffix(".weight"), optim.lora.targets)
    ]
    rank = optim.lora.rank if optim.lora else 0
    return Trained(kept / sum(sizes.values()), rank * sum(sum(shape) for shape in adapted))


@dataclass(frozen=True)
class Memory:
    """Bytes of one rank."""

    weights: int
    """Weights, and with ZeRO-3 those that are gathered."""
    gradients: int
    """Gradients, and the buckets they are exchanged through."""
    optimizer: int
    """States, and float32 weights where those of the model are not the optimizer's own."""
    activations: int
    """What the blocks keep for the backward pass, over the micro batches in flight."""
    logits: int
    """Logits, their softmax and their gradient of one micro batch."""
    runtime: int
    """The process itself."""
    host: int = 0
    """Optimizer states that parallel.offload keeps in the host's memory instead; not part of the total."""

    @property
    def total(self) -> int:
        """Bytes where the rank computes."""
        states = self.weights + self.gradients + self.optimizer
        return states + self.activations + self.logits + self.runtime


def peak(
    config: PipelineConfig,
    lengths: Lengths,
    optim: OptimizerConfig,
    rows: int,
    data_size: int,
    gpu: bool,
    trained: Trained = ALL,
) -> Memory:
    """Memory of the rank that needs most; `rows` is the padded vocabulary, `gpu` whether ranks have GPUs."""
    stages = stage_blocks(config, lengths, rows)
    found = [
        on_stage(config, lengths, optim, rows, data_size, gpu, index, blocks, trained)
        for index, blocks in enumerate(stages)
    ]
    return max(found, key=lambda memory: memory.total)


def on_stage(
    config: PipelineConfig,
    lengths: Lengths,
    optim: OptimizerConfig,
    rows: int,
    data_size: int,
    gpu: bool,
    stage: int,
    blocks: tuple[int, int],
    trained: Trained = ALL,
) -> Memory:
    """Memory of a rank of one pipeline stage that has so many blocks of an encoder and of the main stack.

    What is frozen and what adapters add is taken to be spread evenly over the stages.
    """
    parallel, width = config.parallel, bytes_per_value(optim, gpu)
    base = stage_parameters(config, rows, stage, blocks) // parallel.tensor
    added = trained.adapters // (parallel.pipeline * parallel.tensor)
    spared = stage_experts(config, blocks) // parallel.tensor * (parallel.experts - 1) // parallel.experts
    held, whole = base + added - spared, round(base * trained.share) + added
    moving = whole - round(spared * trained.share)
    in_flight = min(parallel.pipeline - stage, optim.accumulation(data_size))
    kept = activations.of_stage(config, lengths, *blocks, width=width)
    if config.generator and stage == 0:
        narrow = config.model_copy(update={"model": config.generator})
        kept += activations.of_stage(narrow, lengths, 0, config.generator.layers, width=width)
    kept *= optim.micro_batch * width
    values = state_values(config, optim, rows, stage, blocks)
    kept_states = values / parallel.tensor * whole / base
    # What ranks share anyway is as much where some of them hold other experts.
    own = kept_states * moving / whole if whole else 0.0
    states = round(4 * own) if parallel.zero_stage == 0 else 4 * round((whole + kept_states) / data_size)
    offloaded = parallel.offload and gpu
    last = stage == parallel.pipeline - 1
    return Memory(
        weights=_weights(held, width, parallel.zero_stage, data_size),
        gradients=_gradients(moving, width, parallel.zero_stage, data_size, gpu),
        optimizer=0 if offloaded else states,
        activations=in_flight * kept,
        logits=_logits(config, lengths, rows, optim.micro_batch, width) if last else 0,
        runtime=GPU_RUNTIME if gpu else CPU_RUNTIME,
        host=states if offloaded else 0,
    )


def companion_bytes(config: PipelineConfig, lengths: Lengths, rows: int, width: int, samples: int = 0) -> int:
    """Bytes of a frozen model on the rank that holds most, beside those of the model that learns.

    `config` has the companion's model and the training's layout, `width` is that of a value. No gradients,
    optimizer or activations are kept, and ZeRO does not divide it; but where its logits become labels, those
    of all `samples` that a rank looks at in a step are.
    """
    found = []
    for stage, blocks in enumerate(stage_blocks(config, lengths, rows)):
        last = stage == config.parallel.pipeline - 1
        values = stage_parameters(config, rows, stage, blocks)
        values += samples * (lengths.targets or lengths.inputs) * rows if last else 0
        found.append(width * (values // config.parallel.tensor))
    return max(found)


def bytes_per_value(optim: OptimizerConfig, gpu: bool) -> int:
    """Width of weights and activations: 4 for float32, 2 for the others."""
    precision = ("bfloat16" if gpu else "float32") if optim.precision == "auto" else optim.precision
    return 4 if precision == "float32" else 2


def stage_blocks(config: PipelineConfig, lengths: Lengths, rows: int) -> list[tuple[int, int]]:
    """Blocks of the encoder and of the main stack on each pipeline stage, which cost about the same.

    The head counts on the last stage, as in `pipeline.parallel.stages`.
    """
    model, stages = config.model, config.parallel.pipeline
    costs = [*flops.block_costs(model, lengths), flops.head_cost(model, lengths, rows)]
    bounds = [*_cut(costs, stages), len(costs) - 1]
    counts = []
    for start, stop in pairwise(bounds):
        inner = max(0, min(stop, model.encoder_depth) - start)
        counts.append((inner, stop - start - inner))
    return counts


def stage_parameters(config: PipelineConfig, rows: int, stage: int, blocks: tuple[int, int]) -> int:
    """Parameters of a stage over all its tensor-parallel ranks; what is no block lies at the two ends."""
    model = config.model
    whole = flops.parameters(model, rows, config.position_table, config.objective)
    own = block_parameters(config, blocks)
    ends = whole - block_parameters(config, (model.encoder_depth, model.layers))
    if config.parallel.pipeline == 1:
        return own + ends
    words = rows * (model.word_size or model.hidden_size)
    others = ends - words * (1 if model.tied_output else 2)
    first, last = stage == 0, stage == config.parallel.pipeline - 1
    return own + first * (words + others) + last * words


def block_parameters(config: PipelineConfig, blocks: tuple[int, int]) -> int:
    """Parameters of so many blocks of an encoder and of the main stack.

    Of a part of a stack as many have experts as can be.
    """
    model, cross = config.model, config.model.architecture == "encoder_decoder"
    if model.shared_layers:
        return min(1, blocks[1]) * flops.block_parameters(model, cross)
    found = 0
    for count, whole, has_cross in (
        (blocks[0], model.encoder_depth, False),
        (blocks[1], model.layers, cross),
    ):
        routed = flops.most_expert_layers(model, count, whole)
        found += (count - routed) * flops.block_parameters(model, has_cross, routed=False)
        found += routed * flops.block_parameters(model, has_cross, routed=True)
    return found


def stage_experts(config: PipelineConfig, blocks: tuple[int, int]) -> int:
    """Parameters of the experts of so many blocks, over all ranks that share them."""
    model = config.model
    if model.experts is None:
        return 0
    stacks = ((blocks[0], model.encoder_depth), (blocks[1], model.layers))
    layers = sum(flops.most_expert_layers(model, count, whole) for count, whole in stacks)
    return layers * model.experts.count * flops.mlp_weights(model)


def state_values(
    config: PipelineConfig, optim: OptimizerConfig, rows: int, stage: int, blocks: tuple[int, int]
) -> int:
    """Numbers that the optimizer keeps of a stage's parameters, over all its tensor-parallel ranks.

    Vectors count as matrices, and the means that Adafactor keeps in place of these as nothing.
    """
    whole = stage_parameters(config, rows, stage, blocks)
    average = whole if optim.average else 0
    if optim.optimizer == "adafactor":
        return average
    inside = block_parameters(config, blocks) if optim.optimizer == "muon" else 0
    return 2 * whole - inside + average


def checkpoint_bytes(
    config: PipelineConfig, optim: OptimizerConfig, rows: int, trained: Trained = ALL
) -> int:
    """Size of a checkpoint: float32 weights, and the optimizer's states of those that are trained."""
    model = config.model
    alone = config.model_copy(update={"parallel": config.parallel.model_copy(update={"pipeline": 1})})
    blocks = (model.encoder_depth, model.layers)
    weights = stage_parameters(alone, rows, 0, blocks)
    moving = weights * trained.share + trained.adapters
    states = state_values(alone, optim, rows, 0, blocks) * moving / weights
    return round(4 * (weights + trained.adapters + states))


def _cut(costs: list[float], parts: int) -> list[int]:
    """Where each of `parts` contiguous runs starts, so that the costliest is as cheap as can be.

    >>> _cut([2.0, 2.0, 2.0, 2.0, 1.0], 2)
    [0, 2]
    """
    sums = sorted({sum(costs[i:j]) for i in range(len(costs)) for j in range(i + 1, len(costs) + 1)})
    return next(starts for most in sums if len(starts := _fill(costs, parts, most)) == parts)


def _fill(costs: list[float], parts: int, most: float) -> list[int]:
    """Starts of runs of at most `most`, and of more of them at the end where there would be too few."""
    starts, total = [0], costs[0]
    for index, cost in enumerate(costs[1:], start=1):
        if total + cost > most * (1 + 1e-9) or len(costs) - index <= parts - len(starts):
            starts.append(index)
            total = 0.0
        total += cost
    return starts


def _weights(held: int, width: int, zero_stage: int, data_size: int) -> int:
    if zero_stage == 3:
        return width * (held // data_size + min(held, LIVE_PARAMETERS))
    return width * held


def _gradients(held: int, width: int, zero_stage: int, data_size: int, gpu: bool) -> int:
    own = held // data_size if zero_stage >= 2 else held
    if zero_stage == 0:
        return width * own
    buckets = 2 if gpu and zero_stage < 3 else 1  # one is filled while the other is sent
    return width * (own + buckets * reduce_bucket(held))


def reduce_bucket(held: int) -> int:
    """Elements of such a buffer on a rank that holds so many parameters."""
    return min(held, REDUCE_BUCKET)


def _logits(config: PipelineConfig, lengths: Lengths, rows: int, micro_batch: int, width: int) -> int:
    """Float32 log-probabilities and their gradient, and the logits where these are narrower."""
    each = 8 if width == 4 else 8 + width
    return micro_batch * (lengths.targets or lengths.inputs) * rows // config.parallel.tensor * each
