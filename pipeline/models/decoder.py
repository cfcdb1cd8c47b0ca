"""A decoder-only language model (GPT-2, GPT-3, Llama) as a list of layers."""

import torch
import torch.nn.functional as F
from megatron.core import parallel_state
from megatron.core.tensor_parallel.layers import VocabParallelEmbedding
from megatron.core.tensor_parallel.mappings import copy_to_tensor_model_parallel_region
from torch import Tensor, nn

from pipeline.config import PipelineConfig
from pipeline.models import flops
from pipeline.models.layer import Layer
from pipeline.models.layers import (
    Activations,
    Block,
    Norm,
    mark_sharded,
    megatron_config,
)


def decoder_layers(config: PipelineConfig, vocabulary_size: int, dtype: torch.dtype) -> list[Layer]:
    """Word table, positions, blocks, final norm, output head."""
    model, rows = config.model, flops.padded_vocabulary(vocabulary_size)
    words = (rows, model.hidden_size, model.initial_std, dtype)
    tie = "words" if model.tied_output else None
    layers = [Layer("words", WordTable, words, cost=0.0, tie=tie)]
    if model.positions == "learned":
        table = (config.position_table, model.hidden_size, model.initial_std, model.dropout, dtype)
        layers.append(Layer("positions", PositionTable, table, cost=0.0))
    block_cost = flops.block(model, config.data.sequence_length)
    layers += [Layer(f"blocks.{i}", Block, (model, dtype), cost=block_cost) for i in range(model.layers)]
    layers.append(Layer("norm", Norm, (model, dtype), cost=0.0))
    head = "words" if model.tied_output else "head"
    layers.append(Layer(head, WordTable, words, cost=2.0 * rows * model.hidden_size, tie=tie, forward=logits))
    return layers


class WordTable(nn.Module):
    """One row a token, cut by rows over tensor-parallel ranks; embeds at one end, predicts at the other."""

    def __init__(self, rows: int, hidden_size: int, std: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.table = VocabParallelEmbedding(
            rows, hidden_size, init_method=nn.init.zeros_, config=megatron_config(dtype)
        )
        mark_sharded(self.table.weight, 0, 1)
        self.table.weight.initial_std = std

    @property
    def weight(self) -> Tensor:
        """The rows of this rank."""
        return self.table.weight

    def forward(self, inputs: Activations) -> Activations:
        """Tokens [B, S] to hidden states [S, B, H]; positions and segments pass through."""
        if isinstance(inputs, tuple):
            return (self._embed(inputs[0]), *inputs[1:])
        return self._embed(inputs)

    def _embed(self, tokens_BS: Tensor) -> Tensor:
        return self.table(tokens_BS.t())


def logits(words: nn.Module, inputs: Activations) -> Tensor:
    """Hidden states [S, B, H] to this rank's columns of the logits [S, B, V / tensor size]."""
    x_SBH = inputs[0] if isinstance(inputs, tuple) else inputs
    if parallel_state.get_tensor_model_parallel_world_size() > 1:
        x_SBH = copy_to_tensor_model_parallel_region(x_SBH)
    return F.linear(x_SBH, words.weight)


class PositionTable(nn.Module):
    """Learned absolute positions, added to the word embeddings."""

    def __init__(self, rows: int, hidden_size: int, std: float, dropout: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, hidden_size, dtype=dtype))
        self.weight.initial_std = std
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Activations) -> Activations:
        """Add row i to position i, counted from each document's start where positions are given."""
        if isinstance(inputs, tuple):
            x_SBH, positions_BS, *others = inputs
            rows_SBH = F.embedding(positions_BS.t(), self.weight)
            return (self.dropout(x_SBH + rows_SBH), positions_BS, *others)
        return self.dropout(inputs + self.weight[: inputs.shape[0]].unsqueeze(1))
