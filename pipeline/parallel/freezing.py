"""Parameters that stay as they are: no gradient, no optimizer state, in any layout."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from data_prep.contract.settings import InputError
from pipeline.config import OptimizerConfig
from pipeline.distributed.gathering import gathered
from pipeline.optim.groups import GroupKey, patterns
from pipeline.optim.names import fits, is_trained
from pipeline.parallel.stages import Stages

ANCHOR = "anchor"
"""Beginning of the names of numbers that stand for what a stage lacks; no checkpoint has them."""


def check_patterns(names: Iterable[str], linears: Iterable[str], optim: OptimizerConfig) -> None:
    """`InputError` on all ranks where a pattern fits nothing on any of them; all ranks call this.

    `names` are this stage's parameters, `linears` its layers with adapters.
    """
    wanted = [(key, pattern) for key, some in patterns(optim).items() for pattern in some]
    found = [any(fits(name, [pattern]) for name in names) for _, pattern in wanted]
    if optim.lora:
        wanted += [("lora.targets", pattern) for pattern in optim.lora.targets]
        found += [any(fits(name, [pattern]) for name in linears) for pattern in optim.lora.targets]
    if not wanted:
        return
    for (key, pattern), *seen in zip(wanted, *gathered(found), strict=True):
        if not any(seen):
            raise InputError(
                f"{key}: {pattern} fits no name; `bloomery inspect` lists those of a checkpoint's tensors"
            )


def freeze(parameters: Mapping[str, nn.Parameter], optim: OptimizerConfig) -> dict[str, nn.Parameter]:
    """Take the gradients of what is not trained; returns what is, by name. All ranks call this.

    `InputError` where nothing is left to train.
    """
    trained = {name: parameter for name, parameter in parameters.items() if is_trained(name, optim)}
    if not any(gathered(bool(trained))):
        raise InputError("freeze leaves nothing to train; name fewer parameters")
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)
    return trained


def with_anchors(
    trained: Mapping[str, nn.Parameter], keys: Mapping[str, GroupKey], module: Stages
) -> tuple[dict[str, nn.Parameter], dict[str, GroupKey]]:
    """The same with an anchor, a number that stays 0, in each group that other pipeline stages alone have.

    DeepSpeed adds up a norm for each group over all stages, so all must have the same groups; and it wants an
    optimizer on every stage, of which all parameters may be frozen.
    """
    missing = sorted(set().union(*gathered(set(keys.values()))) - set(keys.values()))
    anchors = {f"{ANCHOR}.{number}": key for number, key in enumerate(missing)}
    like = next(module.parameters())
    added = {
        name: nn.Parameter(torch.zeros(1 if key.is_vector else (1, 1), dtype=like.dtype, device=like.device))
        for name, key in anchors.items()
    }
    module.anchors.extend(added.values())
    return {**trained, **added}, {**keys, **anchors}
