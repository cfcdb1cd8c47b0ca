"""The learning rate as a pure function of the step, so that a resume has nothing to restore."""

import math

from pipeline.config import OptimizerConfig


def learning_rate(step: int, config: OptimizerConfig) -> float:
    """Linear warm-up to the peak over `warmup_steps`, then what `schedule` says of the steps after it.

    Steps count from 0; the first step of a warm-up of n has the rate peak / n.
    """
    peak, least = config.learning_rate, min(config.minimum_learning_rate, config.learning_rate)
    if step < config.warmup_steps:
        return peak * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return peak
    if config.schedule == "inverse_sqrt":
        return peak * _inverse_sqrt(step, config)
    progress = _progress(step, config)
    if config.schedule == "cosine":
        return least + (peak - least) * 0.5 * (1.0 + math.cos(math.pi * progress))
    return peak + (least - peak) * progress


def _progress(step: int, config: OptimizerConfig) -> float:
    """How much of the decay is behind: from 0 at its first step to 1 at the last."""
    begin = config.warmup_steps
    if config.schedule == "wsd":
        begin = max(begin, config.steps - 1 - (config.decay_steps or max(1, config.steps // 10)))
    return min(1.0, max(0.0, (step - begin) / max(1, config.steps - 1 - begin)))


def _inverse_sqrt(step: int, config: OptimizerConfig) -> float:
    """1 until step `decay_from`, then as 1 / sqrt(step), counted from 1 (Vaswani et al. 2017; T5)."""
    begin = max(1, config.decay_from or config.warmup_steps)
    return math.sqrt(begin / max(step + 1, begin))
