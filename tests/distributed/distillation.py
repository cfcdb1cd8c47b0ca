"""A task for tests: the distribution of a frozen teacher is what the learner is to have."""

from typing import Any

import torch
from megatron.core.tensor_parallel.mappings import reduce_from_tensor_model_parallel_region
from torch import Tensor

from pipeline.models.layer import Flow
from pipeline.objectives.batches import Batch
from pipeline.objectives.distillation import shifted
from pipeline.objectives.loss import Loss
from pipeline.parallel.companion import Companion


class Distillation(Loss):
    """KL from the teacher's distribution to the learner's (Hinton et al. 2015), over all tensor ranks."""

    @property
    def labels(self) -> tuple[str, ...]:
        return ("weights", "teacher_logits")

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("divergence", "teacher_entropy")

    def __call__(self, outputs: Flow, labels: Flow) -> tuple[Tensor, dict[str, Tensor]]:
        weights_SB = labels["weights"].t()
        wanted, normalizer_SB = shifted(labels["teacher_logits"])
        found, own_normalizer_SB = shifted(outputs["logits"])
        logs = wanted - normalizer_SB.unsqueeze(2)
        real, shares = logs.isfinite(), logs.exp()
        sums = [(shares * one).where(real, 0.0).sum(2) for one in (logs, found)]
        inner_SB, mean_SB = reduce_from_tensor_model_parallel_region(torch.stack(sums))
        divergence = ((inner_SB - mean_SB + own_normalizer_SB) * weights_SB).sum()
        return divergence, {"divergence": divergence, "teacher_entropy": -(inner_SB * weights_SB).sum()}


def with_teacher(batches: list[Batch], teacher: Companion) -> list[Batch]:
    """The batches with the teacher's logits as a label, on the last pipeline stage."""
    plain = [{name: array for name, array in batch.items() if name != "targets"} for batch in batches]
    outputs: list[Any] = teacher.forward(plain) or [{}] * len(plain)
    return [
        batch | ({"teacher_logits": flow["logits"]} if flow else {})
        for batch, flow in zip(plain, outputs, strict=True)
    ]
