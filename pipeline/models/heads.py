"""From the residual stream to what is predicted."""

import math

import torch
import torch.nn.functional as F
from megatron.core import ModelParallelConfig, parallel_state
from megatron.core.tensor_parallel.mappings import (
    copy_to_tensor_model_parallel_region,
    gather_from_sequence_parallel_region,
)
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.models.activations import ACTIVATIONS
from pipeline.models.attention import softcapped
from pipeline.models.layer import Flow
from pipeline.models.linear import WholeLinear, mark_sharded
from pipeline.models.norm import Norm


def logits(
    words: nn.Module, flow: Flow, *, tokens: int, scale: float, softcap: float | None, parts: bool
) -> Flow:
    """This rank's columns of the logits [S, B, V / tensor size], by the rows of a word table.

    Rows behind the `tokens` of the vocabulary, which fill up the table, have logits of minus infinity: they
    take no probability, so a table of any size gives the same losses. With a cache the logits are those of
    what comes next alone, [1, B, V], unless the flow says `every_place`.
    """
    last = "cache" in flow and "every_place" not in flow
    hidden_SBH = flow["hidden"][-1:] if last else flow["hidden"]
    if scale != 1.0:
        hidden_SBH = hidden_SBH * scale
    if parts:
        hidden_SBH = gather_from_sequence_parallel_region(hidden_SBH, tensor_parallel_output_grad=True)
    else:
        hidden_SBH = copy_to_tensor_model_parallel_region(hidden_SBH)
    if softcap is not None:
        capped_SBV = softcapped(F.linear(hidden_SBH, words.weight, flow.get("logit_bias")), softcap)
        padding_V = without_padding(None, words.weight, tokens)
        return {"logits": capped_SBV if padding_V is None else capped_SBV + padding_V}
    bias_V = without_padding(flow.get("logit_bias"), words.weight, tokens)
    return {"logits": F.linear(hidden_SBH, words.weight, bias_V)}


def without_padding(bias_V: Tensor | None, rows_VH: Tensor, tokens: int) -> Tensor | None:
    """The bias of this rank's columns, minus infinity in those of rows that are no token's."""
    count = len(rows_VH)
    own = tokens - count * parallel_state.get_tensor_model_parallel_rank()
    if own >= count:
        return bias_V
    if bias_V is None:
        bias_V = rows_VH.new_zeros(count)
    return bias_V.masked_fill(torch.arange(count, device=rows_VH.device) >= own, -math.inf)


class MLMHead(nn.Module):
    """What stands before an encoder's output words (Devlin et al. 2019): dense, nonlinearity, norm, bias."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig, rows: int) -> None:
        super().__init__()
        size, std = model.embedding_width, model.initial_std
        self.dense = WholeLinear(megatron, model.hidden_size, size, bias=model.bias, std=std)
        self.activation = ACTIVATIONS[model.activation]
        self.norm = Norm(model, megatron, size)
        own = rows // megatron.tensor_model_parallel_size
        self.bias = nn.Parameter(torch.zeros(own, dtype=megatron.params_dtype))
        mark_sharded(self.bias, 0, 1)

    def forward(self, flow: Flow) -> Flow:
        """Transform the hidden states; the bias of this rank's columns is added by the head."""
        hidden_SBH = self.norm(self.activation(self.dense(flow["hidden"])))
        return {"hidden": hidden_SBH, "logit_bias": self.bias}


class SentenceHead(nn.Module):
    """BERT's second task: a pooled first token and two logits."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.parts = megatron.sequence_parallel
        size, std = model.hidden_size, model.initial_std
        self.pool = WholeLinear(megatron, size, size, bias=True, std=std)
        self.classify = WholeLinear(megatron, size, 2, bias=True, std=std)
        for parameter in self.parameters():
            parameter.partial_gradient = False  # every rank sees the first token, whoever holds it

    def forward(self, flow: Flow) -> Flow:
        """Add `next_sentence_logits` [B, 2]."""
        hidden_SBH = flow["hidden"]
        if self.parts:
            hidden_SBH = gather_from_sequence_parallel_region(hidden_SBH, tensor_parallel_output_grad=False)
        pooled_BH = torch.tanh(self.pool(hidden_SBH[0]))
        return {"next_sentence_logits": self.classify(pooled_BH)}
