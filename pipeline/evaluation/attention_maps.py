"""Who looks at whom in a trained model: attention's shares on a held-out sample, by the very masks it uses.

A query's output is the sum of the values by its shares, so with the identity for values the model's own
attention gives the shares themselves, whatever kernel, mask and bias are at work. A share of exactly 0 is
where the mask lets nothing through.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_prep.contract.dataset import Dataset
from pipeline.data.maker import cutting
from pipeline.data.stream import SampleStream
from pipeline.data.tables import special_tokens
from pipeline.evaluation.scoring import LanguageModel, batch_logits
from pipeline.models.attention import Attention, CrossAttention
from pipeline.objectives.batches import Batch
from pipeline.objectives.registry import objective_of

ENCODER, DECODER, CROSS = "encoder", "decoder", "decoder on encoder"


@dataclass(frozen=True)
class AttentionMap:
    """Shares [S, T] of keys for each query, means over layers and heads; each row adds up to 1."""

    where: str
    """Which attention: `ENCODER`, `DECODER` or `CROSS`."""
    shares: NDArray[np.float64]


def attention_maps(model: LanguageModel, module: nn.Module, batch: Batch) -> list[AttentionMap]:
    """What a model makes of the first sample of a batch of its objective; `module` holds its layers."""
    labels = objective_of(model.config.objective).labels
    inputs = {name: array[:1] for name, array in batch.items() if name not in labels}
    found: dict[str, list[Tensor]] = {}
    with recording(module, found):
        batch_logits(model, inputs)
    return [
        AttentionMap(where, torch.stack(shares).mean(0).double().cpu().numpy())
        for where, shares in found.items()
    ]


@contextmanager
def recording(module: nn.Module, found: dict[str, list[Tensor]]) -> Iterator[None]:
    """Within, every attention adds its shares [S, T], a mean over heads, to `found`, by where it is."""
    layers = [one for one in module.modules() if isinstance(one, Attention)]
    for layer in layers:
        core: Any = layer._core
        layer._core = partial(_recorded, layer, core, found)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer._core


def _recorded(
    layer: Attention, core: Any, found: dict[str, list[Tensor]], q: Tensor, k: Tensor, v: Tensor, mask: Any
) -> Tensor:
    """What the attention computes, after its shares were kept."""
    identity_TT = torch.eye(k.shape[2], dtype=v.dtype, device=v.device)
    shares_BNST = core(q, k, identity_TT.expand(*k.shape[:2], -1, -1), mask)
    where = CROSS if isinstance(layer, CrossAttention) else DECODER if layer.causal else ENCODER
    found.setdefault(where, []).append(shares_BNST[0].float().mean(0))
    out: Tensor = core(q, k, v, mask)
    return out


def held_out_batch(model: LanguageModel, data: Dataset) -> Batch:
    """One sample of the validation split, as the model's own training makes it."""
    config = model.config
    stream = SampleStream(data, "validation", cutting(config), config.seed)
    make = objective_of(config.objective).batches(config.data, special_tokens(data.vocabulary))
    return make(stream.samples(np.arange(1)))
