"""From tokens to the residual stream."""

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig
from megatron.core.tensor_parallel.layers import VocabParallelEmbedding
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.models.layer import Flow
from pipeline.models.linear import WholeLinear, mark_partial, mark_sharded, own_rows, whole_length
from pipeline.models.norm import Dropout


class TokenEmbedding(nn.Module):
    """One row a token, cut by rows over tensor-parallel ranks; embeds at one end, predicts at the other."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, rows: int, std: float) -> None:
        super().__init__()
        self.parts = megatron.sequence_parallel
        self.table = VocabParallelEmbedding(
            rows,
            model.word_size or model.hidden_size,
            init_method=nn.init.zeros_,
            reduce_scatter_embeddings=self.parts,
            config=megatron,
        )
        mark_sharded(self.table.weight, 0, 1)
        self.table.weight.initial_std = std

    @property
    def weight(self) -> Tensor:
        """The rows of this rank."""
        return self.table.weight

    def forward(self, tokens_BS: Tensor) -> Tensor:
        """Tokens [B, S] to rows [S, B, H]."""
        rows: Tensor = self.table(tokens_BS) if self.parts else self.table(tokens_BS.t())
        return rows


def embed(words: nn.Module, flow: Flow, *, tokens: str, scale: float) -> Flow:
    """The embeddings of the tokens that have this name in the batch."""
    rows_SBH = words(flow[tokens])
    return {"hidden": rows_SBH if scale == 1.0 else rows_SBH * scale}


class PositionTable(nn.Module):
    """Learned absolute positions, added to the word embeddings."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, rows: int) -> None:
        super().__init__()
        self.megatron = megatron
        self.weight = nn.Parameter(torch.empty(rows, model.embedding_width, dtype=megatron.params_dtype))
        self.weight.initial_std = model.initial_std
        mark_partial(self.weight, megatron)

    def forward(self, flow: Flow) -> Flow:
        """Add row i to position i, counted from each document's start where positions are given."""
        hidden_SBH = flow["hidden"]
        if "positions" in flow:
            positions_SB = own_rows(flow["positions"], 1, self.megatron).t()
            return {"hidden": hidden_SBH + F.embedding(positions_SB, self.weight)}
        rows_SH = own_rows(self.weight[: whole_length(hidden_SBH, self.megatron)], 0, self.megatron)
        return {"hidden": hidden_SBH + rows_SH.unsqueeze(1)}


class Sinusoids(nn.Module):
    """Sines and cosines of positions, added to the word embeddings (Vaswani et al. 2017, section 3.5).

    All sines stand before all cosines, as in the authors' code and Marian; the paper's text has them in turn.
    """

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.megatron, self.width = megatron, model.hidden_size

    def forward(self, flow: Flow) -> Flow:
        """Add them to position i, counted from each document's start where positions are given."""
        hidden_SBH = flow["hidden"]
        if "positions" in flow:
            places_SB = own_rows(flow["positions"], 1, self.megatron).t()
        else:
            places = torch.arange(whole_length(hidden_SBH, self.megatron), device=hidden_SBH.device)
            places_SB = own_rows(places, 0, self.megatron).unsqueeze(1)
        rates = 10_000.0 ** (-torch.arange(0, self.width, 2, device=hidden_SBH.device) / self.width)
        angles = places_SB.unsqueeze(2) * rates
        return {"hidden": hidden_SBH + torch.cat((angles.sin(), angles.cos()), 2).to(hidden_SBH.dtype)}


class TypeTable(nn.Module):
    """Token types, added to the word embeddings; without any in the batch all are of type 0."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.megatron = megatron
        shape = (model.token_types, model.embedding_width)
        self.weight = nn.Parameter(torch.empty(shape, dtype=megatron.params_dtype))
        self.weight.initial_std = model.initial_std
        mark_partial(self.weight, megatron)

    def forward(self, flow: Flow) -> Flow:
        """Add the row of each token's type."""
        if "token_types" not in flow:
            return {"hidden": flow["hidden"] + self.weight[0]}
        types_SB = own_rows(flow["token_types"], 1, self.megatron).t()
        return {"hidden": flow["hidden"] + F.embedding(types_SB, self.weight)}


class Projection(WholeLinear):
    """Between the width of the word table and that of the residual stream."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, inward: bool) -> None:
        assert model.word_size is not None
        sizes = (model.word_size, model.hidden_size)
        inputs, outputs = sizes if inward else sizes[::-1]
        bias = model.word_size_of == "embeddings"
        super().__init__(megatron, inputs, outputs, bias=bias, std=model.initial_std)


def project(projection: nn.Module, flow: Flow) -> Flow:
    """A projection as a layer of its own."""
    return {"hidden": projection(flow["hidden"])}


def drop(dropout: Dropout, flow: Flow) -> Flow:
    """Dropout as a layer of its own."""
    return {"hidden": dropout(flow["hidden"])}
