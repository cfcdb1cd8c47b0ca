"""Which parameters are trained, and which of them are updated alike: by one rule, decay and learning rate."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from torch import nn

from pipeline.config import OptimizerConfig
from pipeline.optim.names import fits
from pipeline.optim.rules import rule_of

Layers = Sequence[tuple[str, bool]]
"""The model's layers in order: the prefix of its parameters' names, and whether it is a transformer block."""


class GroupKey(NamedTuple):
    """What the parameters of a group have in common; sorted as groups are."""

    is_vector: bool
    """Whether they have fewer than two dimensions."""
    decay: float
    """Their weight decay."""
    rule: str
    """By which rule they are updated."""
    factor: float
    """What the learning rate is multiplied by."""
    experts: str = ""
    """DeepSpeed's name of the ranks that share them, where data-parallel ranks hold different ones."""


def group_keys(
    parameters: Mapping[str, nn.Parameter], optim: OptimizerConfig, layers: Layers = ()
) -> dict[str, GroupKey]:
    """The group of each parameter.

    Matrices decay; biases, norms and other vectors do not, nor does what `no_decay` names.
    """
    factors = rate_factors(parameters, optim, layers)
    found = {}
    for name, parameter in parameters.items():
        is_vector = parameter.dim() <= 1
        decay = 0.0 if is_vector or fits(name, optim.no_decay) else optim.weight_decay
        rule = rule_of(optim.optimizer, parameter.dim(), getattr(parameter, "in_block", False))
        found[name] = GroupKey(is_vector, decay, rule, factors[name], getattr(parameter, "group_name", ""))
    return found


def parameter_groups(
    parameters: Mapping[str, nn.Parameter], keys: Mapping[str, GroupKey]
) -> list[dict[str, Any]]:
    """Torch's parameter groups; those of matrices come first."""
    groups: dict[GroupKey, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        groups.setdefault(keys[name], []).append(parameter)
    return [
        {"params": groups[key], "weight_decay": key.decay, "rule": key.rule, "factor": key.factor}
        | ({"moe": True, "name": key.experts} if key.experts else {})
        for key in sorted(groups)
    ]


def rate_factors(names: Iterable[str], optim: OptimizerConfig, layers: Layers) -> dict[str, float]:
    """Each parameter's factor on the learning rate.

    With a decay d and n blocks, what is behind them has the factor 1, the last block d, the first d^n, and
    what is before it d^(n + 1), so embeddings learn slowest (as Clark et al. 2020 tune ELECTRA).
    """
    depths = layer_depths(layers)
    top = max(depths.values(), default=0)
    found = {}
    for name in names:
        depth = next((depth for layer, depth in depths.items() if name.startswith(f"{layer}.")), top)
        found[name] = _by_pattern(name, optim.rates) * optim.layer_decay ** (top - depth)
    return found


def layer_depths(layers: Layers) -> dict[str, int]:
    """How many blocks a layer comes after, itself included; one more behind the last.

    >>> layer_depths([("words", False), ("blocks.0", True), ("norm", False), ("words", False)])
    {'words': 0, 'blocks.0': 1, 'norm': 2}
    """
    count, passed = sum(is_block for _, is_block in layers), 0
    depths: dict[str, int] = {}
    for name, is_block in layers:
        passed += is_block
        depths.setdefault(name, passed if is_block or passed < count else count + 1)
    return depths


def _by_pattern(name: str, rates: Mapping[str, float]) -> float:
    return next((rate for pattern, rate in rates.items() if fnmatchcase(name, pattern)), 1.0)


def patterns(optim: OptimizerConfig) -> dict[str, list[str]]:
    """The patterns of parameters' names by the key that has them; each must name something."""
    found = {"freeze": optim.freeze, "no_decay": optim.no_decay, "rates": list(optim.rates)}
    return found | ({"lora.also": optim.lora.also} if optim.lora else {})
