"""Tasks that several tests plan."""

from pipeline.config import DataConfig, ModelConfig, PipelineConfig
from pipeline.costs import flops
from pipeline.costs.lengths import Lengths
from pipeline.planning.task import Task


def gpt(layers: int, hidden: int, heads: int, length: int = 2048, vocabulary: int = 51_200) -> Task:
    """Megatron-LM's GPT."""
    model = ModelConfig(layers=layers, hidden_size=hidden, heads=heads, dropout=0.1)
    return task_of(model, length, vocabulary)


def preset(name: str, length: int = 2048, vocabulary: int = 32_000) -> Task:
    """A published decoder."""
    return task_of(ModelConfig(preset=name), length, vocabulary)


def task_of(model: ModelConfig, length: int, vocabulary: int) -> Task:
    config = PipelineConfig(name="planned", model=model, data=DataConfig(sequence_length=length))
    return Task(config, Lengths(length), flops.padded_vocabulary(vocabulary))
