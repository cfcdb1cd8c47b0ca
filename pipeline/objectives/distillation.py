"""Learning from a teacher beside the data: the distribution that a frozen model gives is wanted, too.

The loss is (1 - s) times the objective's own and s T^2 times the divergence KL(teacher || student) of both
distributions at temperature T, over the positions that the objective weighs (Hinton, Vinyals and Dean 2015,
section 2). The teacher's logits are a label, made by a companion on the last pipeline stage; under tensor
parallelism both are this rank's columns of the vocabulary.
"""

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.tensor_parallel.mappings import reduce_from_tensor_model_parallel_region
from torch import Tensor

from pipeline.models.layer import Flow
from pipeline.objectives.batches import Batch
from pipeline.objectives.loss import Loss
from pipeline.objectives.objective import Objective

TEACHER = "teacher_logits"
"""The label [S, B, V] of a batch."""


class Distillation(Loss):
    """An objective's loss with a teacher's distribution beside the data."""

    def __init__(self, objective: Objective, share: float, temperature: float) -> None:
        self.objective, self.share, self.temperature = objective, share, temperature

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the objective, and the teacher's logits."""
        return (*self.objective.labels, TEACHER)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those of the objective, its loss, and the divergence at the temperature in nats."""
        return (*self.objective.metrics, "objective_loss", "divergence")

    def __call__(self, outputs: Flow, labels: Flow) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of both, and each."""
        divergence_SB = divergence(outputs["logits"], labels[TEACHER], self.temperature)
        apart = (divergence_SB * labels["weights"].t()).sum()
        own, metrics = self.objective(outputs, labels)  # last: it may overwrite the logits
        total = (1 - self.share) * own + self.share * self.temperature**2 * apart
        return total, metrics | {"objective_loss": own, "divergence": apart}

    def tokens(self, batch: Batch) -> int:
        """As the objective counts them."""
        return self.objective.tokens(batch)


def divergence(student_SBV: Tensor, teacher_SBV: Tensor, temperature: float = 1.0) -> Tensor:
    """[S, B] KL(teacher || student) in nats from both models' logits, over the columns of all tensor ranks.

    Columns that the teacher gives no probability, those that fill up the word table, count nothing.
    """
    wanted, wanted_log_SB = shifted(teacher_SBV.float() / temperature)
    found, found_log_SB = shifted(student_SBV.float() / temperature)
    logs = wanted - wanted_log_SB.unsqueeze(2)
    real, shares = logs.isfinite(), logs.exp()
    sums = [(shares * one).where(real, 0.0).sum(2) for one in (logs, found)]
    inner_SB, mean_SB = reduce_from_tensor_model_parallel_region(torch.stack(sums))
    return inner_SB - mean_SB + found_log_SB


def shifted(logits_SBV: Tensor) -> tuple[Tensor, Tensor]:
    """Logits less the largest, and the log of their exponentials' sum [S, B] over all tensor ranks."""
    largest = logits_SBV.detach().amax(2, keepdim=True)
    dist.all_reduce(largest, dist.ReduceOp.MAX, group=parallel_state.get_tensor_model_parallel_group())
    logits_SBV = logits_SBV - largest
    return logits_SBV, reduce_from_tensor_model_parallel_region(logits_SBV.exp().sum(2)).log()
