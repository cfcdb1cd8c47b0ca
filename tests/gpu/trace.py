"""What a step's time goes to: a trace for a viewer, and the shares of kinds of kernels."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from tests.gpu.training import Training

KINDS: tuple[tuple[str, str], ...] = (
    ("attention", r"flash|fmha|sdpa|scaled_dot_product|attention"),
    ("matrix products", r"gemm|nvjet|cutlass|cublas|::mm\b|::addmm|::bmm|::linear|::matmul"),
    ("communication", r"nccl|gloo|all_reduce|allreduce|all_gather"),
    ("optimizer", r"adam|multi_tensor|lerp"),
    ("copies", r"memcpy|memset|copy_|::to\b|cat"),
    ("fused by the compiler", r"triton_"),
)
"""Kinds by what stands in a kernel's name, the first that fits; all else is elementwise."""
TOP = 12


def kind_of(kernel: str) -> str:
    """The kind of a kernel, or of an operation on a CPU.

    >>> kind_of("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n"), kind_of("at::native::elementwise_kernel")
    ('matrix products', 'elementwise')
    """
    return next((kind for kind, names in KINDS if re.search(names, kernel, re.IGNORECASE)), "elementwise")


def trace(training: Training, steps: int, file: Path) -> dict[str, Any]:
    """Shares of the wall time of some steps by kind, the largest kernels, and what the device waited.

    The file is for Perfetto or chrome://tracing. Steps are warm already.
    """
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * training.on_gpu
    with profile(activities=activities) as profiled:
        wall = sum(training.step() for _ in range(steps))
    profiled.export_chrome_trace(str(file))
    kinds: dict[str, float] = defaultdict(float)
    kernels: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        on_device = event.device_type == torch.autograd.DeviceType.CUDA
        if on_device != training.on_gpu:
            continue
        micro = event.self_device_time_total if training.on_gpu else event.self_cpu_time_total
        kinds[kind_of(event.key)] += micro / 1e6 / wall
        kernels[event.key[:90]] += micro / 1e6 / wall
    kinds["waiting for the host"] = max(0.0, 1.0 - sum(kinds.values()))
    largest = sorted(kernels.items(), key=lambda item: -item[1])[:TOP]
    return {"shares": dict(sorted(kinds.items(), key=lambda item: -item[1])), "largest": dict(largest)}
