"""Products and attention alone: the ceiling of a device, and what each kernel takes of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

REPEATS = 10
KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "plain": SDPBackend.MATH,
}


def seconds_of(work: Callable[[], object], device: torch.device, repeats: int = REPEATS) -> float:
    """The median over `repeats` after three that do not count, each with all that it leaves to the device."""
    times = []
    for turn in range(repeats + 3):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn >= 3:
            times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


def products(device: torch.device, shapes: dict[str, tuple[int, int, int]]) -> dict[str, float]:
    """FLOP/s of bare products [m, k] x [k, n] of random numbers, bfloat16 (float32 on a CPU), by name."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    found = {}
    for name, (m, k, n) in shapes.items():
        left, right = (torch.randn(*size, device=device, dtype=dtype) for size in ((m, k), (k, n)))
        found[name] = 2 * m * k * n / seconds_of(lambda a=left, b=right: torch.mm(a, b), device)
    return found


def float8_products(device: torch.device, shape: tuple[int, int, int]) -> dict[str, Any]:
    """A linear layer's forward product in bfloat16, and in float8 with the scaling of its inputs counted."""
    m, k, n = shape
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 9):
        return {"skipped": "float8 products need a GPU of compute capability 8.9 or more"}
    x, weight = (torch.randn(*size, device=device, dtype=torch.bfloat16) for size in ((m, k), (n, k)))
    limit = torch.finfo(torch.float8_e4m3fn).max

    def narrow(values: Tensor) -> tuple[Tensor, Tensor]:
        scale = limit / values.abs().amax().float()
        return (values.float() * scale).clamp(-limit, limit).to(torch.float8_e4m3fn), scale.reciprocal()

    narrow = torch.compile(narrow)

    def product() -> Tensor:
        (a, a_scale), (b, b_scale) = narrow(x), narrow(weight)
        return torch._scaled_mm(a, b.t(), scale_a=a_scale, scale_b=b_scale, out_dtype=torch.bfloat16)

    work = 2 * m * k * n
    exact = x.float() @ weight.float().t()
    return {
        "bfloat16": work / seconds_of(lambda: F.linear(x, weight), device),
        "float8": work / seconds_of(product, device),
        "float8 relative error": float((product().float() - exact).norm() / exact.norm()),
        "torchao": bool(find_spec("torchao")),
    }


def attention(device: torch.device, heads: int, length: int, size: int, documents: int) -> dict[str, Any]:
    """Milliseconds of one causal attention, forward and backward, by each kernel; NaN where it refuses.

    Then the same inside of `documents` documents of equal length that are packed into the row: by a dense
    mask, as the models here do it, and by FlexAttention with a mask of blocks.
    """
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    q, k, v = (
        torch.randn(2, heads, length, size, device=device, dtype=dtype, requires_grad=True) for _ in range(3)
    )

    def both(function: Callable[[], Tensor]) -> float:
        with suppress(RuntimeError):
            return 1000 * seconds_of(lambda: function().sum().backward(), device, 5)
        return float("nan")

    found = {}
    for name, backend in KERNELS.items():
        with sdpa_kernel([backend]):
            found[name] = both(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True))
    for name, function in packed(q, k, v, documents):
        found[name] = both(function)
    return found


def packed(q: Tensor, k: Tensor, v: Tensor, documents: int) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Ways to attend inside of documents alone."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    length, device = q.shape[2], q.device
    segments_S = torch.arange(length, device=device) * documents // length
    position_S = torch.arange(length, device=device)
    dense = (segments_S[:, None] == segments_S) & (position_S[:, None] >= position_S)
    yield "documents, dense mask", lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=dense)
    if device.type != "cuda":  # FlexAttention has no backward pass on a CPU
        return

    def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (segments_S[query] == segments_S[key]) & (query >= key)

    blocks = create_block_mask(visible, None, None, length, length, device=str(device))
    compiled = torch.compile(flex_attention)
    yield "documents, FlexAttention", lambda: compiled(q, k, v, block_mask=blocks)
