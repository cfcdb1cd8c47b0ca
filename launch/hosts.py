"""Starting a training's processes over the hosts of a hostfile, with those of them that answer.

    bloomery train RECIPE --hostfile HOSTS

HOSTS is DeepSpeed's hostfile, `NAME slots=GPUS` a line; hosts are reached as DeepSpeed reaches them, by ssh
with no password and by pdsh. Bloomery, the recipe and the work folder lie at the same place on all of them.
Without some hosts the data parallel size changes, and with it neither the global batch nor the sample order.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from data_prep.contract.reading import read_bytes
from data_prep.contract.settings import InputError
from data_prep.contract.utf8 import decoded
from launch.local import SCRIPT
from launch.remote import check_places, is_host, pack
from launch.settings import SuperviseConfig
from launch.supervise import NotReadyError
from pipeline.config import OptimizerConfig, ParallelConfig

SSH = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "StrictHostKeyChecking=accept-new"]
SSH_SECONDS = 15.0
KEEP_ALIVE = "-o ServerAliveInterval=5 -o ServerAliveCountMax=3"
"""So that pdsh hears of a host that is gone."""
HOSTFILE_BYTES = 16 << 20
FIRST_PORT, PORTS = 29500, 400
"""Another port for each attempt: what is left of the one before may hold its own."""


@dataclass(frozen=True)
class HostsLauncher:
    """Starts `launch/train.py` with `deepspeed --hostfile`."""

    arguments: list[str]
    """The recipe and its overrides, as train.py takes them."""
    hostfile: Path
    folder: Path
    """Where the hostfile of an attempt is written."""
    parallel: ParallelConfig
    optim: OptimizerConfig
    settings: SuperviseConfig
    notify: Callable[[str], None]

    def command(self, attempt: str, flags: list[str]) -> tuple[list[str], dict[str, str]]:
        """DeepSpeed's command and its environment. `NotReadyError` where too few hosts answer."""
        slots = read_hostfile(self.hostfile)
        silent = [host for host, answers in zip(slots, ask(list(slots), "true"), strict=True) if not answers]
        if silent and not self.settings.fewer_hosts:
            raise NotReadyError(f"{', '.join(silent)} did not answer, and supervise.fewer_hosts is false")
        there = {host: count for host, count in slots.items() if host not in silent}
        chosen = choose_slots(there, self.parallel, self.optim, full=not silent)
        processes = sum(chosen.values())
        if silent:
            self.notify(f"going on without {', '.join(silent)}: {processes} processes on {', '.join(chosen)}")
        self._hosts.write_text("".join(f"{host} slots={count}\n" for host, count in chosen.items()))
        data = processes // (self.parallel.tensor * self.parallel.pipeline)
        port = FIRST_PORT + int(attempt.split("-")[1], base=16) % PORTS
        check_places(SCRIPT, sys.executable)
        packed, environment = pack(self.arguments, os.environ)
        command = [deepspeed(), "--hostfile", str(self._hosts), "--force_multi", f"--master_port={port}"]
        command += [str(SCRIPT), *packed, *flags, "--set", f"parallel.data={data}"]
        keep_alive = f"{os.environ.get('PDSH_SSH_ARGS_APPEND', '')} {KEEP_ALIVE}".strip()
        return command, environment | {"PDSH_SSH_ARGS_APPEND": keep_alive}

    @property
    def _hosts(self) -> Path:
        """The hosts of the attempt, whatever has become of the hostfile meanwhile."""
        return self.folder / "hosts"

    def clean(self, attempt: str) -> None:
        """Kill the attempt's processes on all of its hosts that answer; elsewhere they end themselves."""
        # The brackets keep the pattern from matching the command line that it is part of.
        ask(list(read_hostfile(self._hosts)), f"pkill -KILL -f -- '[-]-attempt {attempt}'")


def read_hostfile(path: Path) -> dict[str, int]:
    """Hosts and their slots. `InputError` where a line is not `NAME slots=N`.

    A pipe is none: the file is read again for every attempt.
    """
    try:
        lines = decoded(read_bytes(path, limit=HOSTFILE_BYTES)).splitlines()
    except InputError as error:
        raise InputError(f"{error}; a hostfile is expected") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; a hostfile is expected") from None
    slots: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        bare = line.partition("#")[0].strip()
        if not bare:
            continue
        found = re.fullmatch(r"(\S+)\s+slots=([0-9]{1,5})", bare)
        if not found or found[1] in slots or int(found[2]) < 1:
            raise InputError(f"{path}, line {number}: {bare!r}; `NAME slots=N` is expected, each host once")
        if not is_host(found[1]):
            raise InputError(
                f"{path}, line {number}: {found[1]!r} is not the name of a host; letters, digits and . _ - "
                "are expected, the first a letter or digit"
            )
        slots[found[1]] = int(found[2])
    if not slots:
        raise InputError(f"{path}: no hosts; a line for each is expected, such as `node1 slots=8`")
    return slots


def choose_slots(
    there: dict[str, int], parallel: ParallelConfig, optim: OptimizerConfig, full: bool
) -> dict[str, int]:
    """Slots of the hosts to use: as many whole copies of the model as fit and divide the global batch.

    `full` says that all hosts are there: then a layout that does not fit will never fit, an `InputError`.
    Otherwise it may fit later, a `NotReadyError`.
    """
    model, total = parallel.tensor * parallel.pipeline, sum(there.values())
    room, rows = total // model, optim.batch_at(0) // optim.micro_batch
    if full and room < (parallel.data or 1):
        raise InputError(
            f"parallel: tensor {parallel.tensor} x pipeline {parallel.pipeline} x data {parallel.data or 1} "
            f"needs more than the {total} slots of the hosts; make one smaller"
        )
    if full and parallel.data:
        return _first(there, parallel.data * model)
    sizes = [size for size in range(1, min(parallel.data or room, room) + 1) if rows % size == 0]
    if not sizes:
        raise NotReadyError(f"the hosts that answer have {total} slots, {model} are needed")
    return _first(there, sizes[-1] * model)


def _first(there: dict[str, int], processes: int) -> dict[str, int]:
    chosen: dict[str, int] = {}
    for host, count in there.items():
        taken = min(count, processes - sum(chosen.values()))
        if taken:
            chosen[host] = taken
    return chosen


def ask(hosts: list[str], command: str) -> list[bool]:
    """Run a command on all hosts at once by ssh; whether each answered with status 0 in time."""

    def one(host: str) -> bool:
        try:
            done = subprocess.run(
                [*SSH, "--", host, command], timeout=SSH_SECONDS, capture_output=True, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    with ThreadPoolExecutor(max_workers=64) as pool:
        return list(pool.map(one, hosts))


def deepspeed() -> str:
    """DeepSpeed's command, the one of this Python. `InputError` where it or pdsh is not there."""
    if shutil.which("pdsh") is None:
        raise InputError("--hostfile needs pdsh, which DeepSpeed starts hosts with (apt-get install pdsh)")
    found = shutil.which("deepspeed", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if found is None:
        raise InputError("--hostfile needs the deepspeed command; pip install 'bloomery[train]'")
    return found
