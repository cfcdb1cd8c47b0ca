"""What all transformer layers of a stack share: who sees whom, and how positions enter attention.

These layers are local: each pipeline stage has its own, computed from the small integers that travel with the
activations. A mask is only made where something asks for one; a plain decoder has none.

Queries are the last S of T columns: all of them, or with a cache the new ones.
"""

import math
from functools import partial

import torch
from megatron.core import ModelParallelConfig, parallel_state
from torch import Tensor, nn

from pipeline.config import ModelConfig, RopeScaling
from pipeline.models.attention import input_std
from pipeline.models.buckets import relative_buckets
from pipeline.models.cache import columns_before
from pipeline.models.layer import Flow
from pipeline.models.linear import mark_sharded, whole_length
from pipeline.models.mimetic import near
from pipeline.models.rotary import turn_rates


class Mask(nn.Module):
    """Who sees whom by the order and the segments of a stack's tokens, and ALiBi's slopes."""

    def __init__(
        self, model: ModelConfig, megatron: ModelParallelConfig, causal: bool, segments: str
    ) -> None:
        super().__init__()
        self.megatron, self.causal, self.segments = megatron, causal, segments
        self.window = model.local_window
        self.both_ways = not causal
        self.slopes = own_heads(alibi_slopes(model.heads)) if model.positions == "alibi" else None

    def forward(self, flow: Flow) -> Flow:
        """Add `mask` where the order of tokens does not say it all, and `local_mask` for banded layers."""
        hidden_SBH = flow["hidden"]
        length, device = whole_length(hidden_SBH, self.megatron), hidden_SBH.device
        past = columns_before(flow)
        columns = past + length
        extra = allowed(flow.get(self.segments), flow.get("prefix") if self.causal else None, length)
        before = None
        if self.causal:
            before = torch.ones(length, columns, dtype=torch.bool, device=device).tril(past)
        found: Flow = {}
        if extra is not None:
            found["mask"] = extra & before if before is not None and "prefix" not in flow else extra
        elif past and length > 1:
            found["mask"] = before  # the rule that is left unsaid counts columns from the first query
        if self.slopes is not None:
            assert before is not None
            slopes_N11 = self.slopes.to(device).view(-1, 1, 1)
            bias = slopes_N11 * torch.arange(columns, device=device)
            found["mask"] = additive(bias.to(hidden_SBH.dtype), found.get("mask", before))
        if self.window is not None:
            found["local_mask"] = within(found.get("mask"), self._band(before, length, past, device))
        return found

    def _band(self, before: Tensor | None, length: int, past: int, device: torch.device) -> Tensor:
        """[S, T], True within the window: of the last tokens, or in an encoder half of it on either side."""
        assert self.window is not None
        if before is not None:
            return before.triu(past + 1 - self.window)
        half = self.window // 2
        every = torch.ones(length, length, dtype=torch.bool, device=device)
        return every.tril(half).triu(-half)


class RelativePositions(nn.Module):
    """T5's bias by bucketed distance, one table for a whole stack (Raffel et al. 2020, section 2.1)."""

    def __init__(
        self, model: ModelConfig, megatron: ModelParallelConfig, causal: bool, segments: str
    ) -> None:
        super().__init__()
        self.megatron, self.causal, self.segments = megatron, causal, segments
        self.distance = model.relative_distance
        heads = model.heads // megatron.tensor_model_parallel_size
        self.weight = nn.Parameter(torch.empty(model.relative_buckets, heads, dtype=megatron.params_dtype))
        mark_sharded(self.weight, 1, 1)
        self.weight.initial_std = input_std(model, model.hidden_size)
        if model.mimetic:
            self.weight.initial_change = partial(near, distance=self.distance, both_ways=not causal)

    def forward(self, flow: Flow) -> Flow:
        """Add `mask` [B or 1, N, S, T]: this rank's heads' biases, minus infinity where nothing is seen."""
        hidden_SBH = flow["hidden"]
        length, device = whole_length(hidden_SBH, self.megatron), hidden_SBH.device
        past = columns_before(flow)
        places_T = torch.arange(past + length, device=device)
        places_S1 = places_T[past:].unsqueeze(1)
        buckets_ST = relative_buckets(
            places_T - places_S1, self.weight.shape[0], self.distance, both_ways=not self.causal
        )
        bias_NST = torch.nn.functional.embedding(buckets_ST, self.weight).permute(2, 0, 1)
        seen = allowed(flow.get(self.segments), None, length)
        if self.causal:
            before = places_T <= places_S1
            seen = before if seen is None else seen & before
        return {"mask": additive(bias_NST, seen)}


class MemoryMask(nn.Module):
    """What a decoder may see of the encoder's output: all but padding."""

    def forward(self, flow: Flow) -> Flow:
        """Add `memory_mask` where the batch says what is padding."""
        if "encoder_segments" not in flow:
            return {}
        return {"memory_mask": (flow["encoder_segments"] != 0)[:, None, None, :]}


class Rotary(nn.Module):
    """Angles of rotary positions (Su et al., 2021)."""

    def __init__(self, model: ModelConfig, megatron: ModelParallelConfig) -> None:
        super().__init__()
        self.megatron, self.size, self.base = megatron, model.rotated_width, model.rope_base
        self.scaling, self.local_base = model.rope_scaling, model.local_rope_base
        self.local = model.local_window is not None

    def forward(self, flow: Flow) -> Flow:
        """Add `rotary` [2, S, R], or [2, B, 1, S, R] where positions restart with each document.

        So with `local_rotary` of layers that see a window, where there are such.
        """
        device = flow["hidden"].device
        positions = flow.get("positions")
        if positions is None:
            positions = torch.arange(whole_length(flow["hidden"], self.megatron), device=device)
        else:
            positions = positions.unsqueeze(1)
        found = {"rotary": self._turns(positions, self.base, self.scaling)}
        if self.local:
            found["local_rotary"] = (
                self._turns(positions, self.local_base, None) if self.local_base else found["rotary"]
            )
        return found

    def _turns(self, positions: Tensor, base: float, scaling: RopeScaling | None) -> Tensor:
        rates = turn_rates(self.size, base, scaling, positions)
        angles = positions.float().unsqueeze(-1) * rates
        angles = torch.cat((angles, angles), dim=-1)
        rotary = torch.stack((angles.cos(), angles.sin()))
        return rotary * scaling.attention_factor if scaling and scaling.attention_factor != 1.0 else rotary


def allowed(segments_BT: Tensor | None, prefix_B: Tensor | None, length: int) -> Tensor | None:
    """[B, 1, S, T], True where one of S = `length` queries may look by segments or a prefix; None without.

    Equal segments see each other. A prefix, which no cache has seen a part of, is seen whole by every
    position, the rest from before alone.
    """
    seen = None
    if segments_BT is not None:
        segments_BS = segments_BT[:, -length:]
        seen = (segments_BS.unsqueeze(2) == segments_BT.unsqueeze(1)).unsqueeze(1)
    if prefix_B is not None:
        places = torch.arange(length, device=prefix_B.device)
        in_prefix = (places < prefix_B.unsqueeze(1))[:, None, None, :]
        given = in_prefix | (places <= places.unsqueeze(1))
        seen = given if seen is None else seen & given
    return seen


def additive(bias: Tensor, seen: Tensor | None) -> Tensor:
    """[B or 1, N, S, T], a bias [N, S, T] with minus infinity where nothing is seen."""
    bias = bias.unsqueeze(0)  # of three dimensions it would keep attention from its fast kernels
    return bias if seen is None else bias.masked_fill(~seen, -math.inf)


def within(mask: Tensor | None, banded_ST: Tensor) -> Tensor:
    """A mask, of either kind, limited to a band."""
    if mask is None:
        return banded_ST
    return mask & banded_ST if mask.dtype == torch.bool else mask.masked_fill(~banded_ST, -math.inf)


def alibi_slopes(heads: int) -> Tensor:
    """[N] slopes of a geometric series (Press et al., 2022); other counts than powers of two fill up from the
    series of twice as many heads, every second one, as the authors' code does."""
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    slopes += [2 ** (-4 * (2 * i + 1) / power) for i in range(heads - power)]
    return torch.tensor(slopes)


def own_heads(whole_N: Tensor) -> Tensor:
    """This tensor rank's part."""
    size = parallel_state.get_tensor_model_parallel_world_size()
    return whole_N.chunk(size)[parallel_state.get_tensor_model_parallel_rank()]
