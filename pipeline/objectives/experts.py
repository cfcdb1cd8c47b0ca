"""The loss of a model with experts: any loss, and what keeps the experts balanced.

An evaluation gives the loss of what is predicted alone, so that it can be compared with other models'.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from pipeline.models.layer import Flow, Layer
from pipeline.objectives.batches import Batch
from pipeline.objectives.expert_shares import share_name
from pipeline.objectives.loss import Loss

MOST_SHARES = 1024
"""Most metrics of experts' shares; a model with more experts than that in all layers has none."""


class WithExperts(Loss):
    """A loss with that of the experts beside it."""

    def __init__(self, loss: Loss, experts: dict[str, int], drops: bool) -> None:
        """`experts` has their number by the layer's name; `drops` says whether tokens may find no place."""
        self.loss, self.drops = loss, drops
        names = [share_name(layer, one) for layer, count in experts.items() for one in range(count)]
        self.shares = names if len(names) <= MOST_SHARES else []

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the loss."""
        return self.loss.labels

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those of the loss, the experts' own, the busiest and idlest one's load over the mean, the share of
        tokens that were dropped, and the share that chose each expert."""
        dropped = ("dropped_share",) if self.drops else ()
        own = ("expert_loss", "busiest_expert", "idlest_expert", *dropped)
        return (*self.loss.metrics, *own, *self.shares)

    def __call__(self, outputs: Flow, labels: Flow) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of both, in a training; the load is the mean over layers."""
        total, metrics = self.loss(outputs, labels)
        own, load_LE = outputs["expert_loss"].mean(), outputs["expert_load"].float()
        relative_LE = load_LE / load_LE.mean(1, keepdim=True)
        busiest, idlest = relative_LE.amax(1).mean(), relative_LE.amin(1).mean()
        found = {"expert_loss": own, "busiest_expert": busiest, "idlest_expert": idlest}
        if self.drops:
            found["dropped_share"] = outputs["expert_dropped"].sum() / load_LE.sum()
        if self.shares:
            share_LE = load_LE / load_LE.sum(1, keepdim=True).clamp(min=1.0)
            found |= dict(zip(self.shares, share_LE.flatten().unbind(), strict=True))
        return total + own if torch.is_grad_enabled() else total, metrics | found

    def tokens(self, batch: Batch) -> int:
        """As the loss counts them."""
        return self.loss.tokens(batch)


def with_experts(loss: Loss, layers: Iterable[Layer]) -> Loss:
    """The loss that a list of layers needs."""
    routed = [layer for layer in layers if "expert_load" in layer.gives]
    if not routed:
        return loss
    experts = {layer.name: layer.arguments[0].experts.count for layer in routed}
    return WithExperts(loss, experts, "expert_dropped" in routed[0].gives)
