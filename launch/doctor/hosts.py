"""The hosts of a hostfile, or this machine alone: reached, started, met, and equal to one another."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch.doctor.finding import Finding, fail, ok, size, warn
from launch.doctor.probe import FOUND, STARTED
from launch.hosts import SSH, ask, deepspeed
from launch.remote import check_places, pack

PROBE = Path(__file__).with_name("probe.py")
SECONDS = 180.0
"""For a trial start to end."""
SLOW_LINK = 5e9
"""Bytes a second between GPUs on several hosts below which something is off: 40 Gbit/s."""
NETWORK = (
    "let the hosts reach one another on all ports; where they have several networks set NCCL_SOCKET_IFNAME "
    "or GLOO_SOCKET_IFNAME in ~/.deepspeed_env; NCCL_DEBUG=INFO says more"
)


@dataclass
class Trial:
    """What a trial start told."""

    started: list[str] = field(default_factory=list)
    """Host of every rank that started."""
    ranks: list[dict[str, Any]] = field(default_factory=list)
    """Facts of every rank, where all have met."""
    all_reduce: dict[str, Any] | None = None
    printed: str = ""


def reach(hosts: list[str]) -> Finding:
    """Whether ssh gets to every host with no password."""
    answers = ask(hosts, "true")
    silent = [host for host, answered in zip(hosts, answers, strict=True) if not answered]
    if silent:
        shown = " ".join(SSH[:3])
        return fail("ssh", f"no answer from {', '.join(silent)}", f"make `{shown} {silent[0]} true` work")
    return ok("ssh", f"{len(hosts)} hosts answer without a password")


def try_start(work: Path, hostfile: Path | None, processes: int) -> Trial:
    """Start the probe as a training is started, over hosts or here, and read what its ranks say."""
    arguments, environment = [str(work.resolve())], dict(os.environ)
    if hostfile is not None:
        check_places(PROBE, sys.executable)
        arguments, environment = pack(arguments, environment)
        command = [deepspeed(), "--hostfile", str(hostfile.resolve()), "--force_multi"]
        command += [f"--master_port={29400 + os.getpid() % 100}"]
    else:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={processes}"]
    return read_trial(_run([*command, str(PROBE), *arguments], environment))


def _run(command: Sequence[str], environment: dict[str, str]) -> str:
    """What a command prints; all that it has started here is ended after `SECONDS`."""
    child = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        return child.communicate(timeout=SECONDS)[0]
    except subprocess.TimeoutExpired:
        return f"nothing more for {SECONDS:.0f} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def read_trial(printed: str) -> Trial:
    """The ranks' own lines among all that launchers print, with or without a host's name in front."""
    trial = Trial(printed=printed)
    trial.started = re.findall(rf"{STARTED} (\S+)", printed)
    found = re.search(rf"{FOUND} (\{{.*\}})", printed)
    if found:
        told = json.loads(found[1])
        trial.ranks, trial.all_reduce = told["ranks"], told["all_reduce"]
    return trial


def judge(trial: Trial, expected: int) -> list[Finding]:
    """What a trial start comes to."""
    if trial.all_reduce is None:
        return [_not_met(trial, expected)]
    return [exchange(trial, trial.all_reduce), same(trial.ranks), storage(trial.ranks)]


def _not_met(trial: Trial, expected: int) -> Finding:
    said = [line for line in trial.printed.splitlines() if "rror" in line] or trial.printed.splitlines()
    last = said[-1].strip()[:200] if said else "nothing was printed"
    if len(trial.started) < expected:
        where = f" (on {', '.join(sorted(set(trial.started)))})" if trial.started else ""
        found = f"{len(trial.started)} of {expected} processes started{where}: {last}"
        return fail(
            "all-reduce", found, "have Bloomery in the same folder on every host, with pdsh on this one"
        )
    return fail("all-reduce", f"{expected} processes started and did not meet: {last}", NETWORK)


def exchange(trial: Trial, told: dict[str, Any]) -> Finding:
    """The all-reduce: right, and how fast."""
    hosts, count = {rank["host"] for rank in trial.ranks}, len(trial.ranks)
    speed = told["bus_bytes_per_second"]
    found = (
        f"{count} processes on {len(hosts)} host{'s' if len(hosts) > 1 else ''}: {size(told['bytes'])} in "
        f"{1000 * told['seconds']:.1f} ms, {speed / 1e9:.2f} GB/s on the bus"
    )
    if not told["right"]:
        return fail(
            "all-reduce", f"{found}, and the sum is wrong", "replace the network or GPUs that do this"
        )
    if trial.ranks[0]["gpu"] and len(hosts) > 1 and speed < SLOW_LINK:
        return warn("all-reduce", found, f"slow for GPUs: {NETWORK}")
    return ok("all-reduce", found)


def same(ranks: list[dict[str, Any]]) -> Finding:
    """Whether all hosts have the same versions and devices."""
    by_host = {rank["host"]: rank["versions"] | {"gpu": rank["gpu"] or "none"} for rank in ranks}
    first, *others = by_host
    for host in others:
        for name, value in by_host[host].items():
            if value != by_host[first][name]:
                found = f"{name} is {by_host[first][name]} on {first} and {value} on {host}"
                return fail("hosts alike", found, "install the same everywhere")
    return ok("hosts alike", f"{len(by_host)} with the same versions and devices")


def storage(ranks: list[dict[str, Any]]) -> Finding:
    """Whether every rank saw every other rank's file in the work folder."""
    problems = [f"{rank['host']}: {rank['sees']}" for rank in ranks if rank["sees"]]
    if problems:
        return fail(
            "shared storage", problems[0], "put the work folder on a file system that all hosts mount"
        )
    return ok("shared storage", f"{len(ranks)} processes see one another's files")


def has_launcher() -> Finding | None:
    """None where hosts can be started from here."""
    if shutil.which("pdsh") is None:
        return fail(
            "pdsh",
            "not here",
            "apt-get install pdsh, or start with launch/cluster/ssh.sh, which needs ssh alone",
        )
    return None
