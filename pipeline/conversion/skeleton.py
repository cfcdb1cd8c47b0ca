"""The names and shapes of a model's tensors, without allocating any."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from pipeline.config import PipelineConfig
from pipeline.distributed import world
from pipeline.models.build import Head
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack

Shapes = dict[str, list[int]]


def shapes(config: PipelineConfig, vocabulary_size: int, head: Head | None = None) -> Shapes:
    """Every parameter's shape by its layout-free name; of another head than the objective's where given."""
    world.start_alone(config.seed)
    with FakeTensorMode():
        stack = Stack(model_layers(config, vocabulary_size, torch.float32, head))
        return {name: list(parameter.shape) for name, parameter in stack.named()}
