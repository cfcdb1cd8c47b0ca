"""The most memory that this process has held, on the host and on its GPU."""

import resource

import torch

MEGABYTE = 1e6


def host_peak() -> int:
    """Largest resident set so far, in megabytes."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE)


def device_peak(device: torch.device) -> int:
    """Most memory that tensors have taken on a GPU so far, in megabytes; 0 on a CPU."""
    return round(torch.cuda.max_memory_allocated(device) / MEGABYTE) if device.type == "cuda" else 0
