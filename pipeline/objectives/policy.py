"""What losses on a policy's own answers share: clipped ratios (Schulman et al. 2017), entropy, their metrics.

A batch has, beside tokens [R, S] and targets [R, S], arrays [R, S] aligned to the targets: `answer_weights` 1
on the tokens that the policy gave, `old_logs` their log-probabilities when it gave them, `advantages`.
"""

import torch
from megatron.core.tensor_parallel.mappings import reduce_from_tensor_model_parallel_region
from torch import Tensor

from pipeline.models.layer import Flow
from pipeline.objectives.batches import Batch
from pipeline.objectives.distillation import shifted
from pipeline.objectives.loss import Loss
from pipeline.objectives.losses import token_log_probabilities

METRICS = ("policy_loss", "entropy", "ratio", "clip_share", "approximate_kl")


def clipped(ratios: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """-min(ratio A, clip(ratio, 1 - low, 1 + high) A) of each token."""
    return torch.maximum(-advantages * ratios, -advantages * ratios.clamp(1 - low, 1 + high))


def clipped_value(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """0.5 max((v - R)^2, (clip(v, v_old - c, v_old + c) - R)^2) of each token."""
    near = torch.clamp(values, old - clip, old + clip)
    return 0.5 * torch.maximum((values - returns).square(), (near - returns).square())


@torch.no_grad()
def entropy(logits_SBV: Tensor) -> Tensor:
    """[B, S] of each position's distribution in nats; the logits are this tensor rank's columns."""
    parts, log_SB = shifted(logits_SBV.float())
    logs = parts - log_SB.unsqueeze(2)
    inner = (logs.exp() * logs).where(logs.isfinite(), 0.0).sum(2)
    return -reduce_from_tensor_model_parallel_region(inner).t()


class PolicyLoss(Loss):
    """Clipped ratios of a policy's answers; `deviation` is the largest |ratio - 1| since it was set to 0."""

    def __init__(self, low: float, high: float, temperature: float) -> None:
        self.low, self.high, self.temperature = low, high, temperature
        self.deviation = 0.0

    def terms(self, outputs: Flow, labels: Flow) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Log-probabilities and losses [R, S], both 0 where the policy gave no token, and the metrics.

        What the policy drew from at a temperature is scored at it: the logits are divided by it.
        """
        logits, weights = scaled(outputs["logits"], self.temperature), labels["answer_weights"]
        mask = weights > 0
        logs = token_log_probabilities(logits, labels["targets"]).where(mask, 0.0)
        changes = logs - labels["old_logs"].where(mask, 0.0)
        ratios, advantages = changes.exp(), labels["advantages"].where(mask, 0.0)
        losses = clipped(ratios, advantages, self.low, self.high)
        with torch.no_grad():
            self.deviation = max(self.deviation, float((ratios - 1).abs().max()))
            outside = losses > -advantages * ratios
            found = {
                "policy_loss": losses,
                "entropy": entropy(logits),
                "ratio": ratios,
                "clip_share": outside.float(),
                "approximate_kl": 0.5 * changes.square(),
            }
        return logs, losses, {name: (one * weights).sum().detach() for name, one in found.items()}

    def tokens(self, batch: Batch) -> int:
        return int(batch["lengths"].sum())


def scaled(logits: Tensor, temperature: float) -> Tensor:
    """Logits at a temperature."""
    return logits if temperature == 1.0 else logits / temperature
