"""All checks in turn."""

from collections.abc import Generator, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from data_prep.contract.settings import InputError
from launch.doctor import hosts as several
from launch.doctor.finding import Finding
from launch.doctor.fit import Devices, count_processes, existing, here, recipe_fits, trainings
from launch.doctor.machine import machine
from launch.graph import graph
from launch.hosts import read_hostfile
from launch.recipe import Recipe
from pipeline.stages.training import config_of


def diagnose(recipe: Recipe | None, work: Path, hostfile: Path | None) -> Iterator[Finding]:
    """Findings as they are made; `InputError` where the hostfile cannot be read."""
    slots = read_hostfile(hostfile) if hostfile else None
    yield from machine(work)
    if find_spec("torch") is None:
        return  # a machine for data preparation, which has been said
    devices = yield from (_alone(recipe, work) if slots is None else _over_hosts(slots, work, hostfile))
    if recipe is not None and devices is not None:
        yield from recipe_fits(recipe, work, devices)


def _alone(recipe: Recipe | None, work: Path) -> Generator[Finding, None, Devices | None]:
    devices = here()
    processes = sum(devices.slots.values())
    if recipe is not None:
        with suppress(InputError):  # which is said with the layout
            stages = trainings(recipe, graph(recipe, work))
            counts = [count_processes(config_of(stage), devices) for stage in stages]
            processes = max(counts, default=processes)
    yield from several.judge(several.try_start(existing(work), None, processes), processes)
    return devices


def _over_hosts(
    slots: dict[str, int], work: Path, hostfile: Path | None
) -> Generator[Finding, None, Devices | None]:
    missing = several.has_launcher()
    reached = missing or several.reach(list(slots))
    yield reached
    if reached.status == "fail":
        return None
    count = sum(slots.values())
    trial = several.try_start(existing(work), hostfile, count)
    yield from several.judge(trial, count)
    if not trial.ranks:
        return None
    smallest = min(rank["bytes"] for rank in trial.ranks)
    return Devices(slots, all(rank["gpu"] for rank in trial.ranks), smallest)
