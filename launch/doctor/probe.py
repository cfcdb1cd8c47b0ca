"""One rank of the doctor's trial start: meets the others, adds numbers with them, shares files with them.

    deepspeed --hostfile HOSTS launch/doctor/probe.py WORK

Each rank prints `doctor-started HOST`; when all have met, the first prints `doctor-found` and a JSON object.
"""

import argparse
import json
import os
import platform
import socket
import sys
import time
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from launch.doctor.finding import host_memory
from launch.remote import unpack
from pipeline.distributed.gathering import from_main, gathered

STARTED, FOUND = "doctor-started", "doctor-found"
SECONDS = 60
"""For the ranks to meet, and for each exchange."""
VISIBLE_SECONDS = 10.0
"""For a file to be seen by all hosts: network file systems remember for a while what is not there."""
COMPARED = ("bloomery", "torch", "deepspeed", "megatron-core")


def main() -> None:
    """Meet, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", type=Path, help="a folder that all hosts share")
    parser.add_argument("--local_rank", type=int, help="set by DeepSpeed's launcher")
    work = parser.parse_args(unpack(sys.argv[1:])).work
    print(f"{STARTED} {socket.gethostname()}", flush=True)
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if gpu else "gloo", timeout=timedelta(seconds=SECONDS))
    ranks = gathered(facts(gpu) | {"sees": sees_all(work)})
    exchange = all_reduce(torch.device("cuda" if gpu else "cpu"))
    if dist.get_rank() == 0:
        print(f"{FOUND} {json.dumps({'ranks': ranks, 'all_reduce': exchange})}", flush=True)
    dist.destroy_process_group()


def facts(gpu: bool) -> dict[str, Any]:
    """What this rank's host has."""
    device = torch.cuda.get_device_properties(torch.cuda.current_device()) if gpu else None
    versions = {"python": platform.python_version()} | {name: _version(name) for name in COMPARED}
    return {
        "host": socket.gethostname(),
        "versions": versions,
        "gpu": device.name if device else None,
        "bytes": device.total_memory if device else host_memory(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def sees_all(work: Path) -> str | None:
    """Write a file and look for those of all ranks; returns what is wrong, on the rank that met it."""
    token = from_main(f".doctor-{os.getpid()}-{time.time_ns()}")
    rank, size = dist.get_rank(), dist.get_world_size()
    own, problem = work / f"{token}.{rank}", None
    try:
        own.write_text(str(rank))
    except OSError as error:
        problem = f"{work} cannot be written ({error.strerror})"
    dist.barrier()
    expected = {f"{token}.{other}": str(other) for other in range(size)}
    deadline = time.monotonic() + VISIBLE_SECONDS
    while problem is None and (missing := {n for n, text in expected.items() if _read(work / n) != text}):
        if time.monotonic() > deadline:
            ranks = ", ".join(sorted(name.rpartition(".")[2] for name in missing))
            problem = f"{work} does not show what ranks {ranks} wrote"
        time.sleep(0.1)
    dist.barrier()
    own.unlink(missing_ok=True)
    return problem


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def all_reduce(device: torch.device, repeats: int = 5) -> dict[str, float | bool]:
    """Add a buffer over all ranks: whether the sum is right, seconds, bytes, bus bandwidth in bytes a second.

    Bus bandwidth is the slowest link's share, 2 (n - 1) / n of the bytes over the time, as nccl-tests counts.
    """
    size, rank = dist.get_world_size(), dist.get_rank()
    elements = (64 << 20) // 4 if device.type == "cuda" else (8 << 20) // 4
    buffer = torch.full((elements,), float(rank + 1), device=device)
    dist.all_reduce(buffer)
    right = bool((buffer == size * (size + 1) / 2).all())
    times = []
    for _ in range(repeats):
        dist.barrier()
        _wait(device)
        began = time.perf_counter()
        dist.all_reduce(buffer.zero_())
        _wait(device)
        times.append(time.perf_counter() - began)
    seconds, volume = sorted(times)[repeats // 2], 4 * elements
    bandwidth = 2 * (size - 1) / size * volume / seconds
    return {"right": right, "seconds": seconds, "bytes": volume, "bus_bytes_per_second": bandwidth}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
