"""One training engine over a list of layers, whatever the layout.

Without pipeline stages the list is one module under a DeepSpeed engine (ZeRO 0 to 3); with them it is a
DeepSpeed PipelineModule (ZeRO 0 or 1). A caller sees the same few methods either way.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.runtime.utils import is_model_parallel_parameter
from megatron.core import parallel_state
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from pipeline.config import OptimizerConfig, ParallelConfig
from pipeline.costs.memory import reduce_bucket
from pipeline.distributed.world import World, model_parallel_unit
from pipeline.models.initialize import initialize
from pipeline.models.layer import Flow, Layer
from pipeline.models.lora import add_adapters
from pipeline.objectives.batches import Batch
from pipeline.objectives.experts import with_experts
from pipeline.objectives.loss import Loss
from pipeline.objectives.losses import spread
from pipeline.optim.build import build, set_rate
from pipeline.optim.groups import group_keys
from pipeline.parallel.examples import alike, unmarked, weight_sum
from pipeline.parallel.experts import is_expert, mark_experts
from pipeline.parallel.forward import forward
from pipeline.parallel.freezing import check_patterns, freeze, with_anchors
from pipeline.parallel.masters import Masters
from pipeline.parallel.model import ModelInLayout
from pipeline.parallel.stack import Stack
from pipeline.parallel.stages import Stages

Example: TypeAlias = tuple[Flow, Flow]
"""Inputs and labels of a micro batch by name."""
Prepare: TypeAlias = Callable[[list[Batch]], list[Batch]]
"""Adds labels to micro batches."""


class Engine(ModelInLayout):
    """A model, its loss, its optimizer and its layout.

    `metrics` are those of the loss in the last step or evaluation, weighted means over the global batch.
    """

    def __init__(
        self,
        layers: list[Layer],
        loss: Loss,
        world: World,
        parallel: ParallelConfig,
        optim: OptimizerConfig,
        dtype: torch.dtype,
        seed: int,
    ) -> None:
        super().__init__(layers, world, parallel)
        loss = with_experts(loss, layers)
        self.loss, self.optim = loss, optim
        self.zero_stage = parallel.zero_stage
        self.staged = parallel.pipeline > 1
        self.metrics: dict[str, float] = {}
        self._held = torch.zeros(())
        self._sums = torch.zeros(1 + len(loss.metrics), device=world.device)
        self._shapes: dict[str, torch.Size] = {}
        module = (
            Stages(layers, world, parallel, self._staged_loss) if self.staged else Stack(layers, parallel)
        )
        linears = add_adapters(module.layers(), optim.lora) if optim.lora else []
        self.parameters = dict(module.named())
        check_patterns(self.parameters, linears, optim)
        mark_experts(module, self.parameters.values())
        initialize(self.parameters.items(), seed, world.tensor_rank, world.tensor_size)
        if not self.staged:
            module.to(device=world.device)
        trained = freeze(self.parameters, optim)
        keys = group_keys(trained, optim, [(layer.name, layer.block) for layer in layers])
        if isinstance(module, Stages):
            trained, keys = with_anchors(trained, keys, module)
        mark_counted_copies(trained.values(), world)
        add_up_parts(trained.values())
        held = sum(parameter.numel() for parameter in trained.values())
        self.engine, *_ = deepspeed.initialize(
            model=module,
            optimizer=build(trained, keys, optim),
            config=deepspeed_config(parallel, optim, world, dtype, held),
            mpu=None if self.staged else model_parallel_unit(),
            dist_init_required=False,
        )
        self.masters = Masters(
            self.engine.optimizer, trained, keys, self.zero_stage, world, averaged=optim.average > 0
        )
        self.masters.allocate()
        if self.zero_stage == 0:
            if world.data_size == 1:
                self.engine.enable_backward_allreduce = False  # it would copy all gradients there and back
            self._update = self.engine.optimizer.step
            self.engine.optimizer.step = self._step

    def train_step(self, batches: list[Batch], learning_rate: float) -> tuple[float, float]:
        """One optimizer step on this rank's micro batches.

        Returns the loss, a weighted mean over the global batch in nats, and the norm of the whole gradient
        before clipping. Where that is not finite, on whatever rank, no rank has changed anything.
        """
        self._set_accumulation(len(batches))
        set_rate(self.engine.optimizer, learning_rate)
        examples = self._examples(batches, self._factors(batches))
        if self.staged:
            mean = float(self.engine.train_batch(data_iter=self._staged(examples)))
            self._staged_means(len(examples))
            self.masters.bound()
            return mean, self._gradient_norm()
        self.engine.train()
        for inputs, labels in examples:
            self.engine.backward(self._loss(self.engine(inputs), labels))
            self.engine.step()
        self.masters.bound()
        return self._means(len(examples)), self._gradient_norm()

    @torch.no_grad()
    def evaluate(self, batches: list[Batch], prepare: Prepare | None = None) -> float:
        """The loss, a weighted mean over every rank's batches; all ranks bring equally many.

        `prepare` adds labels to as many batches at a time as a step has, so that no more of them are held.
        """
        factors = self._factors(batches)
        count = self.engine.gradient_accumulation_steps() if prepare else len(batches)
        self.engine.eval()
        staged_mean = 0.0
        for start in range(0, len(batches), count):
            part = batches[start : start + count]
            examples = self._examples(prepare(part) if prepare else part, factors)
            if self.staged:
                mean = float(self.engine.eval_batch(self._staged(examples), num_micro_batches=len(part)))
                staged_mean += mean * (len(part) / len(batches))
            else:
                for inputs, labels in examples:
                    self._loss(self.engine(inputs), labels)
        self.engine.train()
        if self.staged:
            self._staged_means(len(batches))
            return staged_mean
        return self._means(len(batches))

    @torch.no_grad()
    def forward(self, batches: list[Batch]) -> list[Flow]:
        """Outputs by name of each micro batch, on the last pipeline stage alone; all ranks call this."""
        inputs = [self._read(batch) for batch in batches]
        self.engine.eval()
        if self.staged:
            stages = self.engine.module
            found = forward(stages.run, stages.before, stages.own, inputs, self.world)
        else:
            found = [self.engine(flow) for flow in inputs]
        self.engine.train()
        return found

    def _loss(self, outputs: Flow, labels: Flow) -> Tensor:
        """The loss of a micro batch; it and the metrics are added to the step's."""
        total, metrics = self.loss(outputs, labels)
        total = spread(total)
        self._sums += torch.stack([total, *(metrics[name] for name in self.loss.metrics)]).detach()
        return total

    def _staged_loss(self, outputs: Flow, labels: tuple[Tensor, ...]) -> Tensor:
        return self._loss(outputs, dict(zip(self.loss.labels, labels, strict=True)))

    def _set_accumulation(self, micro_batches: int) -> None:
        """Tell DeepSpeed how many micro batches this step has, where a global batch grows."""
        if micro_batches != self.engine.gradient_accumulation_steps():
            samples = micro_batches * self.optim.micro_batch * self.world.data_size
            self.engine.set_train_batch_size(samples)
            self.engine.micro_steps = 0  # DeepSpeed steps where its count divides by that number

    def _means(self, count: int) -> float:
        """The loss over the `count` micro batches of every rank; the metrics are kept."""
        dist.all_reduce(self._sums, group=self.engine.data_parallel_group)
        return self._take(count)

    def _staged_means(self, count: int) -> None:
        """Keep the metrics, which the last pipeline stage knows; the loss DeepSpeed has told already."""
        if self.loss.metrics:
            last = parallel_state.get_pipeline_model_parallel_last_rank()
            if self.world.rank == last:
                dist.all_reduce(self._sums, group=self.engine.data_parallel_group)
            dist.broadcast(self._sums, last, group=parallel_state.get_pipeline_model_parallel_group())
        self._take(count)

    def _take(self, count: int) -> float:
        loss, *others = [total / (count * self.world.data_size) for total in self._sums.tolist()]
        self.metrics = dict(zip(self.loss.metrics, others, strict=True))
        self._sums.zero_()
        return loss

    def _staged(self, examples: list[Example]) -> Iterator[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """Examples as a pipeline's first and last stage take them.

        DeepSpeed tells the next stage what it sends with the first micro batch alone, so it is told to do
        that again where the batches have changed.
        """
        shapes = {name: tensor.shape for name, tensor in examples[0][0].items()}
        if shapes != self._shapes:
            self._shapes = shapes
            self.engine.reset_activation_shape()
            self.engine.module.expect(shapes)
        return iter([(tuple(inputs.values()), tuple(labels.values())) for inputs, labels in examples])

    def _factors(self, batches: list[Batch]) -> Flow:
        """What the weights of batches are multiplied by, for each array of weights its own.

        DeepSpeed averages over micro batches and data-parallel ranks; with these that means the weighted mean
        over all of them.
        """
        kinds = self._weights(batches[0])
        sums = [weight_sum(batches, kind) for kind in kinds]
        held = float(sum(self.loss.tokens(batch) for batch in batches))
        totals = torch.tensor([*sums, held], dtype=torch.float64, device=self.world.device)
        dist.all_reduce(totals, group=self.engine.data_parallel_group)
        factors = (len(batches) * self.world.data_size / totals[:-1].clamp(min=1e-9)).float()
        self._held = totals[-1]  # read when asked for: here the host would wait for all that is under way
        return dict(zip(kinds, factors, strict=True))

    def _weights(self, batch: Batch) -> list[str]:
        return [name for name in self.loss.labels if name.endswith("weights") and name in batch]

    def _examples(self, batches: list[Batch], factors: Flow) -> list[Example]:
        """Batches as (inputs, labels) on the device, their weights scaled."""
        assert self._weights(batches[0]) == [*factors], "weights come with the data, not from a companion"
        batches = alike(batches) if self.staged else [unmarked(batch) for batch in batches]
        return [self._example(batch, factors) for batch in batches]

    def _example(self, batch: Batch, factors: Flow) -> Example:
        inputs = self._tensors(batch)
        for name, factor in factors.items():
            inputs[name] = inputs[name] * factor
        # A label that a companion made is on the last pipeline stage alone.
        labels = {name: inputs.pop(name) for name in self.loss.labels if name in inputs}
        return inputs, labels

    def _gradient_norm(self) -> float:
        return float(self.engine.get_global_grad_norm())

    @property
    def tokens(self) -> int:
        """Tokens of the last global batch, padding left out."""
        return round(float(self._held))

    @property
    def updates(self) -> int:
        """How often the weights were updated: the steps taken without those whose gradient was not finite."""
        return self.masters.steps_taken()

    def _step(self) -> None:
        """ZeRO stage 0's step; like DeepSpeed's other stages it does nothing with a gradient of no norm."""
        self._clip()
        if math.isfinite(self.engine._global_grad_norm):
            self._update()

    def _clip(self) -> None:
        """Clip by the norm of the whole gradient, each parameter counted once over all ranks."""
        counted = [p for p in self.parameters.values() if p.grad is not None and _is_counted(p)]
        squares = get_total_norm([p.grad for p in counted if not is_expert(p)]).square()
        if experts := [p.grad for p in counted if is_expert(p)]:
            others = get_total_norm(experts).square()
            dist.all_reduce(others, group=parallel_state.get_expert_model_parallel_group())
            squares += others
        dist.all_reduce(squares, group=self.engine.mpu.get_model_parallel_group())
        norm = squares.sqrt()
        if self.optim.clip_gradient_norm and norm > self.optim.clip_gradient_norm:
            clip_grads_with_norm_(self.parameters.values(), self.optim.clip_gradient_norm, norm)
        self.engine._global_grad_norm = float(norm)


def mark_counted_copies(parameters: Iterable[nn.Parameter], world: World) -> None:
    """Tell DeepSpeed which copies of a parameter count in the gradient norm.

    It counts unsharded parameters on the first rank of its model-parallel group alone, which with pipeline
    stages leaves out the norms and biases of every stage but the first. `model_parallel` is the attribute by
    which it counts a parameter on any rank, so the copy on tensor rank 0 of each stage carries it.
    """
    for parameter in parameters:
        parameter.model_parallel = world.tensor_rank == 0


def add_up_parts(parameters: Iterable[nn.Parameter]) -> None:
    """Add up gradients over tensor ranks where each rank has seen a part of what the parameter did.

    A hook on the gradient itself, so that what DeepSpeed accumulates, cuts and norms is already whole.
    """
    group = parallel_state.get_tensor_model_parallel_group()

    def add_up(gradient: Tensor) -> Tensor:
        whole = gradient.clone()
        dist.all_reduce(whole, group=group)
        return whole

    for parameter in parameters:
        if getattr(parameter, "partial_gradient", False):
            parameter.register_hook(add_up)


def _is_counted(parameter: nn.Parameter) -> bool:
    return is_model_parallel_parameter(parameter) and not getattr(parameter, "ds_pipe_replicated", False)


def deepspeed_config(
    parallel: ParallelConfig, optim: OptimizerConfig, world: World, dtype: torch.dtype, held: int
) -> dict[str, Any]:
    """What DeepSpeed is told of a rank with `held` parameters; optimizer and learning rate are ours."""
    zero = {
        "stage": parallel.zero_stage,
        "overlap_comm": torch.cuda.is_available(),
        "reduce_bucket_size": reduce_bucket(held),
    }
    offload = {"offload_optimizer": {"device": "cpu"}} if parallel.offload else {}
    return {
        "train_batch_size": optim.global_batch,
        "train_micro_batch_size_per_gpu": optim.micro_batch,
        "gradient_accumulation_steps": optim.accumulation(world.data_size),
        # Stage 0 is clipped by `Engine`.
        "gradient_clipping": optim.clip_gradient_norm if parallel.zero_stage else 0.0,
        "zero_optimization": zero | offload,
        "zero_force_ds_cpu_optimizer": False,
        "zero_allow_untested_optimizer": optim.optimizer != "adamw",  # ours are tested
        "bf16": {"enabled": dtype == torch.bfloat16},
        "fp16": {"enabled": dtype == torch.float16},
        # Stage outputs cut over tensor ranks are not needed here and go wrong with sequence parallelism.
        "pipeline": {"pipe_partitioned": False, "grad_partitioned": False},
        "steps_per_print": None,
    }
