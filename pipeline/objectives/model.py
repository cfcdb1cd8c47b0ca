"""A recipe's model: the layers of its model section with the head of its objective."""

import torch

from pipeline.config import PipelineConfig
from pipeline.models.build import Builder, Head
from pipeline.models.layer import Layer
from pipeline.models.pooler import bare
from pipeline.objectives.registry import objective_of
from pipeline.objectives.vision.objective import ImageObjective


def model_layers(
    config: PipelineConfig, vocabulary_size: int, dtype: torch.dtype, head: Head | None = None
) -> list[Layer]:
    """Every layer from tokens to the outputs of the objective's head, or of another `head`.

    A bare encoder has no head but its pooled first token.
    """
    objective = objective_of(config.objective)
    if isinstance(objective, ImageObjective):
        return objective.image_layers(config, vocabulary_size, dtype)
    lengths = objective.shape(config.data).lengths
    build = Builder(config, lengths, vocabulary_size, dtype)
    if head is None and config.model.language_head:
        return objective.layers(build)
    return build.layers(head or bare)
