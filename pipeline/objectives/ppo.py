"""Proximal policy optimisation of a language model (Schulman et al. 2017; Stiennon et al. 2020).

mean over tokens of max(-A r, -A clip(r)) + value_weight 0.5 max((v - R)^2, (clip(v) - R)^2); the divergence
from the reference is in the rewards. With `ptx` a cross-entropy on pretraining rows of the same batch, which
carry `ptx_weights`, is added with this weight (PPO-ptx; Ouyang et al. 2022).
"""

import torch
from torch import Tensor

from pipeline.models.layer import Flow
from pipeline.objectives.losses import token_log_probabilities
from pipeline.objectives.policy import METRICS, PolicyLoss, clipped_value


class PPO(PolicyLoss):
    """The loss of PPO."""

    def __init__(
        self, clip: float, value_clip: float, value_weight: float, ptx: float, temperature: float
    ) -> None:
        super().__init__(clip, clip, temperature)
        self.value_clip, self.value_weight, self.ptx = value_clip, value_weight, ptx

    @property
    def labels(self) -> tuple[str, ...]:
        own = ("targets", "lengths", "old_logs", "advantages", "answer_weights", "old_values", "returns")
        return (*own, "ptx_weights") if self.ptx else own

    @property
    def metrics(self) -> tuple[str, ...]:
        own = (*METRICS, "value_loss", "value_clip_share")
        return (*own, "pretraining_loss") if self.ptx else own

    def __call__(self, outputs: Flow, labels: Flow) -> tuple[Tensor, dict[str, Tensor]]:
        """Sums over the tokens of a micro batch."""
        _, losses, metrics = self.terms(outputs, labels)
        weights, values = labels["answer_weights"], outputs["values"]
        old, returns = labels["old_values"], labels["returns"]
        worth = clipped_value(values, old, returns, self.value_clip)
        loss = ((losses + self.value_weight * worth) * weights).sum()
        with torch.no_grad():
            outside = (worth > 0.5 * (values - returns).square()).float()
            metrics["value_loss"] = (worth * weights).sum()
            metrics["value_clip_share"] = (outside * weights).sum()
        if self.ptx:
            logs = token_log_probabilities(outputs["logits"], labels["targets"])
            pretraining = -(logs * labels["ptx_weights"]).sum()
            loss = loss + self.ptx * pretraining
            metrics["pretraining_loss"] = pretraining.detach()
        return loss, metrics
