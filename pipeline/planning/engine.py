"""What matters of a training program for the time of a step: what it fuses, splits and hides."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Engine:
    """Ours where nothing is said."""

    attention: float | None = 0.5
    """Share of a device's half-precision peak that fused attention reaches forward and backward; None where
    the scores are written to memory. FlashAttention-2 reaches .6 on an A100 and .34 on an H100 (Dao 2023),
    cuDNN's about .5 there."""
    split_transfers: bool = False
    """Whether tensor parallel ranks each send their part of what goes from stage to stage (Megatron-LM's
    scatter and gather), not all of them the whole."""
    gradient_bytes: int = 2
    """Width in which gradients are exchanged."""
    accumulation_bytes: int = 6
    """Memory traffic a parameter with which a micro batch's gradients join those before: three values of half
    precision; ten bytes where the sum is in float32."""
    reduce_hidden: float = 0.8
    """Share of the last backward pass behind which the exchange of gradients may hide."""
    gather_hidden: float = 0.4
    """Share of the computation behind which ZeRO-3's gathers may hide. Fitted to DeepSpeed's of 2021."""
    tensor_hidden: float = 0.0
    """Share of the backward pass's tensor parallel exchanges that hide behind gradients of weights."""
    gather_share: float = 0.5
    """Share of a collective's speed that ZeRO-3's gathers keep: fitted, DeepSpeed's of 2021 kept a sixth and
    FSDP's of 2023 all of it. What lies between them is an assumption."""
    products_in_fp8: bool = False
    """Whether the blocks' matrix products are in FP8."""


BLOOMERY = Engine()
