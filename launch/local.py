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
class Place:
    """A part of this machine, where several trainings run side by side."""

    devices: tuple[str, ...]
    """GPUs, as CUDA_VISIBLE_DEVICES names them; empty on a machine without."""
    processes: int
    """How many of a training fit."""
    threads: int
    """Of each process, where there are no GPUs."""


def places(parallel: ParallelConfig, most: int | None = None) -> list[Place]:
    """As many places for trainings of a layout as the machine has GPUs for, else processors; `most` at most.

    A data parallel size that is left open is 1: trainings share nothing, so side by side they lose nothing.
    """
    wanted, gpus = parallel.tensor * parallel.pipeline * (parallel.data or 1), gpu_names()
    processors = os.cpu_count() or 1
    count = max(1, (len(gpus) or processors) // wanted)
    count = count if most is None else min(most, count) if gpus else most
    if gpus:
        return [Place(tuple(gpus[at * wanted : (at + 1) * wanted]), wanted, 1) for at in range(count)]
    return [Place((), wanted, max(1, processors // (count * wanted)))] * count


@dataclass(frozen=True)
class LocalLauncher:
    """Starts `launch/train.py` here, in as many processes as the layout wants."""

    arguments: list[str]
    """The recipe and its overrides, as train.py takes them."""
    parallel: ParallelConfig
    optim: OptimizerConfig
    place: Place | None = None
    """The part of the machine to start them on; None is all of it."""

    def command(self, attempt: str, flags: list[str]) -> tuple[list[str], dict[str, str]]:
        """The launcher's command and its environment."""
        gpus = len(self.place.devices) if self.place else count_gpus()
        room = self.place.processes if self.place else available(gpus)
        processes = choose_processes(self.parallel, self.optim, room, exact=gpus == 0)
        command = [sys.executable, "-P", "-m", "launch.processes", str(processes), str(free_port())]
        return [*command, str(SCRIPT), *self.arguments, *flags], self._environment(gpus, processes)

    def _environment(self, gpus: int, processes: int) -> dict[str, str]:
        environment = dict(os.environ)
        if self.place and gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self.place.devices)
        if self.place and not gpus:
            environment["OMP_NUM_THREADS"] = str(self.place.threads)
        if gpus == 0:
            environment["DS_ACCELERATOR"] = "cpu"
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
        return environment

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
    return len(gpu_names())


def gpu_names() -> list[str]:
    """The same, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device.strip() for device in visible.split(",") if device.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return [str(at) for at in range(sum(line.startswith("GPU ") for line in listed.stdout.splitlines()))]


def device_name() -> str:
    """What the driver calls the first GPU; empty where it does not say."""
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        listed = subprocess.run(asked, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return listed.stdout.partition("\n")[0].strip()


def free_port() -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
