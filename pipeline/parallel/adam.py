"""The optimizer, and where a DeepSpeed engine keeps its state."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config import OptimizerConfig


def adamw(parameters: dict[str, nn.Parameter], optim: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices and leaves biases, norms and other vectors alone."""
    matrices = [parameter for parameter in parameters.values() if parameter.dim() > 1]
    vectors = [parameter for parameter in parameters.values() if parameter.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": optim.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=optim.learning_rate,
        betas=(optim.beta1, optim.beta2),
        eps=optim.epsilon,
        fused=True,
    )


def allocate_moments(optimizer: Any, parameters: Iterable[nn.Parameter], zero_stage: int) -> None:
    """Give AdamW the state that its first step would create.

    Then there is something to restore into, and DeepSpeed links every group's state: by itself it links all
    groups after the first one's first step, when the others have none yet.
    """
    adam = optimizer.optimizer if zero_stage else optimizer
    for parameter in _masters(optimizer, parameters, zero_stage):
        adam.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    if zero_stage in (1, 2):
        optimizer._lazy_init_hp_params_optimizer_state()


def set_steps(optimizer: Any, parameters: Iterable[nn.Parameter], zero_stage: int, steps: int) -> None:
    """Tell AdamW how many steps it has taken, for its bias correction."""
    adam = optimizer.optimizer if zero_stage else optimizer
    for parameter in _masters(optimizer, parameters, zero_stage):
        adam.state[parameter]["step"].fill_(float(steps))


def steps_taken(optimizer: Any, parameters: Iterable[nn.Parameter], zero_stage: int) -> int:
    """How many steps AdamW has taken."""
    adam = optimizer.optimizer if zero_stage else optimizer
    return int(adam.state[_masters(optimizer, parameters, zero_stage)[0]]["step"])


def _masters(optimizer: Any, parameters: Iterable[nn.Parameter], zero_stage: int) -> list[Tensor]:
    """The tensors that AdamW updates: the parameters, or DeepSpeed's flat float32 partitions of them."""
    if zero_stage == 0:
        return list(parameters)
    if zero_stage == 3:
        return optimizer.fp32_partitioned_groups_flat
    return optimizer.single_partition_of_fp32_groups
