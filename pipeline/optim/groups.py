"""Which parameters are updated alike: by one rule, with one weight decay."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from pipeline.config import OptimizerConfig
from pipeline.optim.rules import rule_of


def parameter_groups(parameters: Mapping[str, nn.Parameter], optim: OptimizerConfig) -> list[dict[str, Any]]:
    """Torch's parameter groups; those that decay come first.

    Matrices decay; biases, norms and other vectors do not.
    """
    groups: dict[tuple[float, str], list[nn.Parameter]] = {}
    rules = rule_names(parameters, optim)
    for name, parameter in parameters.items():
        decay = optim.weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((decay, rules[name]), []).append(parameter)
    found = [
        {"params": alike, "weight_decay": decay, "rule": rule} for (decay, rule), alike in groups.items()
    ]
    return sorted(found, key=lambda group: group["params"][0].dim() <= 1)


def rule_names(parameters: Mapping[str, nn.Parameter], optim: OptimizerConfig) -> dict[str, str]:
    """By which rule each parameter is updated."""
    return {
        name: rule_of(optim.optimizer, parameter.dim(), getattr(parameter, "in_block", False))
        for name, parameter in parameters.items()
    }
