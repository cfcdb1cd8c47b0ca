"""Learning from a teacher beside the data: the distribution that a frozen model gives is wanted, too.

The loss is (1 - s) times the objective's own and s T^2 times the divergence KL(teacher || student) of both
distributions at temperature T, over the positions that the objective weighs (Hinton, Vinyals and Dean 2015,
section 2) or over all, and c times 1 - cos of both models' last hidden states over all positions. The
5 KL + 2 MLM + 1 cosine of DistilBERT (Sanh et al. 2019) is 7 times that of s = 5/7 and c = 1/7.

What the teacher gives are labels, made by a companion on the last pipeline stage; under tensor parallelism
logits are this rank's columns of the vocabulary, and hidden states whole.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from megatron.core import ModelParallelConfig, parallel_state
from megatron.core.tensor_parallel.mappings import (
    gather_from_sequence_parallel_region,
    reduce_from_tensor_model_parallel_region,
)
from torch import Tensor, nn

from pipeline.models.build import Builder, Head
from pipeline.models.layer import Flow, Layer
from pipeline.objectives.batches import Batch
from pipeline.objectives.loss import Loss
from pipeline.objectives.objective import Objective

TEACHER = "teacher_logits"
"""The label [S, B, V] of a batch."""
STATES = "teacher_states"
"""The label [S, B, H]: the teacher's last hidden states."""
EVERY = "token_weights"
"""The label [B, S]: 1 at every token, 0 at padding."""


class Distillation(Loss):
    """An objective's loss with a teacher's distribution beside the data.

    With `every` the distributions are compared at every token; `cosine` weighs how the last hidden states
    point, of models that end in `with_last_states`.
    """

    def __init__(
        self, objective: Objective, share: float, temperature: float, every: bool = False, cosine: float = 0.0
    ) -> None:
        self.objective, self.share, self.temperature = objective, share, temperature
        self.every, self.cosine = every, cosine

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the objective, the teacher's, and the weights of all tokens where they are asked for."""
        states = (STATES,) if self.cosine else ()
        weights = (EVERY,) if self.every or self.cosine else ()
        return (*self.objective.labels, *weights, TEACHER, *states)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those of the objective, its loss, the divergence at the temperature in nats, 1 - cos of states."""
        states = ("cosine_distance",) if self.cosine else ()
        return (*self.objective.metrics, "objective_loss", "divergence", *states)

    def __call__(self, outputs: Flow, labels: Flow) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of all, and each."""
        divergence_SB = divergence(outputs["logits"], labels[TEACHER], self.temperature)
        apart = (divergence_SB * labels[EVERY if self.every else "weights"].t()).sum()
        own, metrics = self.objective(outputs, labels)  # last: it may overwrite the logits
        total = (1 - self.share) * own + self.share * self.temperature**2 * apart
        metrics |= {"objective_loss": own, "divergence": apart}
        if not self.cosine:
            return total, metrics
        cosine_SB = F.cosine_similarity(outputs["last_states"].float(), labels[STATES].float(), dim=2)
        away = ((1 - cosine_SB) * labels[EVERY].t()).sum()
        return total + self.cosine * away, metrics | {"cosine_distance": away}

    def tokens(self, batch: Batch) -> int:
        """As the objective counts them."""
        return self.objective.tokens(batch)


class LastStates(nn.Module):
    """The states behind the last block, kept for the loss."""

    def __init__(self, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.parts = megatron.sequence_parallel

    def forward(self, flow: Flow) -> Flow:
        """Add `last_states` [S, B, H], the whole sequence."""
        states_SBH = flow["hidden"]
        if self.parts:
            states_SBH = gather_from_sequence_parallel_region(states_SBH, tensor_parallel_output_grad=False)
        return {"last_states": states_SBH}


def with_last_states(head: Head) -> Head:
    """A head with the states that it is given beside what it makes of them."""

    def both(build: Builder) -> list[Layer]:
        kept = Layer("last_states", LastStates, (build.megatron,), gives=("last_states",))
        return [kept, *head(build)]

    return both


def kept_layers(student: int, teacher: int) -> list[int]:
    """The teacher's layers that a student starts with: its first and its last, and evenly between.

    >>> kept_layers(6, 12)
    [0, 2, 4, 7, 9, 11]
    """
    return [round(i * (teacher - 1) / max(1, student - 1)) for i in range(student)]


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
