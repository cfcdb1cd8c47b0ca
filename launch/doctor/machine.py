"""This machine: versions, GPUs, shared memory, and the tracking server as seen from here."""

import base64
import os
import shutil
import sys
import urllib.error
import urllib.request
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement

from launch.doctor.finding import Finding, fail, ok, size, warn
from launch.local import count_gpus
from pipeline.tracking.pages import without_user
from pipeline.tracking.server import shown, tracking_uri

USES = {"train": "training", "prep": "data preparation"}
SHARED_MEMORY = 1 << 30
"""What NCCL and Ray want of /dev/shm at the least; a container has 64 MiB unless told."""
SECONDS = 5.0


def machine(work: Path) -> list[Finding]:
    """All of this module's findings."""
    return [python(), *(packages(extra) for extra in USES), gpus(), shared_memory(), tracking(work)]


def python() -> Finding:
    """Python's version."""
    found = sys.version.split()[0]
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return ok("python", found)
    return fail("python", found, "install Bloomery with Python 3.11 or 3.12")


def packages(extra: str) -> Finding:
    """Whether what an extra needs is installed, in versions that go with it."""
    name, missing, wrong, there = USES[extra], [], [], []
    for requirement in requirements(extra):
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if requirement.specifier.contains(found, prereleases=True):
            there.append(f"{requirement.name} {found}")
        else:
            wrong.append(f"{requirement.name} {found} ({requirement.specifier} is wanted)")
    advice = f"pip install 'bloomery[{extra}]'"
    if wrong:
        return fail(name, f"another version: {', '.join(wrong)}", advice)
    if {"torch", "ray"} & set(missing):
        return warn(name, f"not installed: {', '.join(missing)}", f"{advice}, where this machine is to do it")
    if missing and extra == "train" and not {one.name for one in requirements("engine")} & set(missing):
        return warn(name, f"trains, but lacks {', '.join(missing)}", f"{advice}, where reports are made")
    if missing:
        return fail(name, f"missing: {', '.join(missing)}", advice)
    return ok(name, ", ".join(there))


def requirements(extra: str) -> list[Requirement]:
    """What an extra of Bloomery adds to what it always needs, with the extras that it has in it."""
    found = [Requirement(line) for line in requires("bloomery") or []]
    added = [one for one in found if one.marker and one.marker.evaluate({"extra": extra})]
    inside = [
        one for own in added if own.name == "bloomery" for name in own.extras for one in requirements(name)
    ]
    return [one for one in added if one.name != "bloomery"] + inside


def gpus() -> Finding:
    """GPUs that the driver lists, and whether torch can use them."""
    listed = count_gpus()
    if not listed:
        cores = os.cpu_count() or 1
        return warn("gpus", f"none, {cores} CPU cores", "training runs on a CPU, for small models alone")
    try:
        import torch
    except ImportError:
        return warn("gpus", f"{listed} listed, no torch to use them", "pip install 'bloomery[train]'")
    if torch.cuda.device_count() < listed:
        return fail(
            "gpus",
            f"{listed} listed by the driver, {torch.cuda.device_count()} usable by torch {torch.__version__}",
            f"install a torch built for this driver (this one is for CUDA {torch.version.cuda})",
        )
    first = torch.cuda.get_device_properties(0)
    found = f"{listed} x {first.name}, {size(first.total_memory)} each"
    if first.major < 8:
        return warn("gpus", found, "these have no bfloat16 units: set train.precision to float16")
    return ok("gpus", found)


def shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    """Room in /dev/shm."""
    if not folder.is_dir():
        return warn("shared memory", f"no {folder}", "NCCL and Ray are slower without it")
    free = shutil.disk_usage(folder).free
    found = f"{size(free)} free in {folder}"
    if free >= SHARED_MEMORY:
        return ok("shared memory", found)
    return warn(
        "shared memory",
        found,
        "docker run --ipc=host or --shm-size=16g; on Kubernetes an emptyDir of medium Memory at /dev/shm",
    )


def tracking(work: Path) -> Finding:
    """Whether MLflow answers where runs would be tracked."""
    uri = tracking_uri(work)
    if uri.startswith("http"):
        return _server(uri)
    if find_spec("sqlalchemy") is None:
        return warn(
            "tracking", f"{shown(uri)}, a file that needs all of mlflow", "pip install 'bloomery[tracking]'"
        )
    return ok("tracking", f"{shown(uri)}, no server")


def _server(uri: str) -> Finding:
    later = "training goes on without it; start it or correct MLFLOW_TRACKING_URI, then `bloomery sync`"
    try:
        with urllib.request.urlopen(_version_of(uri), timeout=SECONDS) as answer:
            return ok("tracking", f"{shown(uri)}, MLflow {answer.read().decode().strip()[:20]}")
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return warn(
                "tracking", f"{shown(uri)} wants credentials", "set MLFLOW_TRACKING_USERNAME and _PASSWORD"
            )
        return warn("tracking", f"{shown(uri)} answers {error.code}", later)
    except (OSError, ValueError) as error:
        return warn("tracking", f"{shown(uri)} does not answer ({getattr(error, 'reason', error)})", later)


def _version_of(uri: str) -> urllib.request.Request:
    """What asks a server for its version, with the user and password of its address."""
    request, parts = urllib.request.Request(f"{without_user(uri)}/version"), urlsplit(uri)
    if parts.username is not None:
        both = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(both.encode()).decode()}")
    return request
