"""A training's processes on this machine: as many as the layout wants and the machine has room for."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from data_prep.contract.settings import InputError
from pipeline.config import OptimizerConfig, ParallelConfig

SCRIPT = Path(__file__).with_name("train.py")


@dataclass(frozen=True)
class LocalLauncher:
    """Starts `launch/train.py` here, in as many processes as the layout wants."""

    arguments: list[str]
    """The recipe and its overrides, as train.py takes them."""
    parallel: ParallelConfig
    optim: OptimizerConfig

    def command(self, attempt: str, flags: list[str]) -> tuple[list[str], dict[str, str]]:
        """The launcher's command and its environment."""
        gpus = count_gpus()
        processes = choose_processes(self.parallel, self.optim, available(gpus), exact=gpus == 0)
        command = [sys.executable, "-m", "launch.processes", str(processes), str(free_port())]
        environment = dict(os.environ)
        if gpus == 0:
            environment["DS_ACCELERATOR"] = "cpu"
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
        return [*command, str(SCRIPT), *self.arguments, *flags], environment

    def clean(self, attempt: str) -> None:
        """Nothing is left: ranks die with the launcher."""


def choose_processes(parallel: ParallelConfig, optim: OptimizerConfig, room: int, exact: bool) -> int:
    """How many processes to start where `room` of them can run side by side.

    A data parallel size that the recipe leaves open becomes the largest that the machine has room for and the
    global batch divides by. `exact` says that more processes than `room` may be started, as on a CPU.
    """
    model = parallel.tensor * parallel.pipeline
    if parallel.data is None:
        rows = optim.batch_at(0) // optim.micro_batch
        copies = max(1, room // model)
        data = max(size for size in range(1, copies + 1) if size == 1 or rows % size == 0)
    else:
        data = parallel.data
    if not exact and model * data > room:
        raise InputError(
            f"parallel: tensor {parallel.tensor} x pipeline {parallel.pipeline} x data {data} needs "
            f"{model * data} GPUs, this machine has {room}; make one smaller or use "
            "`deepspeed --hostfile HOSTS launch/train.py RECIPE` over several machines"
        )
    optim.accumulation(data)
    return model * data


def available(gpus: int) -> int:
    """How many processes this machine runs side by side: one for each GPU, without any two at most."""
    return gpus or min(2, os.cpu_count() or 1)


def count_gpus() -> int:
    """The GPUs that this process may use, without loading torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def free_port() -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
