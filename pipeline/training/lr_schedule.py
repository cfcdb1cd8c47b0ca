"""The learning rate as a pure function of the step, so that a resume has nothing to restore."""

import math

from pipeline.config import OptimizerConfig


def learning_rate(step: int, config: OptimizerConfig) -> float:
    """Linear warm-up to the peak over `warmup_steps`, then a cosine to the minimum at the last step.

    Steps count from 0; the first step of a warm-up of n has the rate peak / n.
    """
    peak, least = config.learning_rate, min(config.minimum_learning_rate, config.learning_rate)
    if step < config.warmup_steps:
        return peak * (step + 1) / config.warmup_steps
    decay_steps = max(1, config.steps - 1 - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / decay_steps)
    return least + (peak - least) * 0.5 * (1.0 + math.cos(math.pi * progress))
