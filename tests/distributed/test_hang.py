"""Ranks that stop, sleep or leave the others' collective: the report names them, and the job ends."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from pipeline.distributed import world
from pipeline.health import watchdog
from pipeline.health.hang import HANGS, REPORT
from pipeline.health.watchdog import HUNG, Watchdog
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from tests.distributed import toy
from tests.distributed.processes import start_world

TIMEOUT = 8.0
AT = 5
HOW = ("stopped", "pipeline", "data", "mismatch")
Hangs = dict[str, tuple[Path, dict[str, Any], float]]


def read_shard() -> None:
    """A file that never comes."""
    time.sleep(1000)


def train_until_it_hangs(run: Path, how: str) -> None:
    """Steps without end; rank 1 goes astray at step 5."""
    given = toy.config(toy.GPT, pipeline=2 if how == "pipeline" else 1)
    here = world.start(given.parallel, given.seed)
    group = dist.new_group([0, 1])
    if here.is_main:
        watchdog.open_folder(run / "beats")
    dist.barrier()
    layers, objective = model_layers(given, toy.VOCABULARY, torch.float32), objective_of(given.objective)
    engine = Engine(layers, objective, here, given.parallel, given.train, torch.float32, given.seed)
    with Watchdog(run / "beats", run, here.rank, here.size, TIMEOUT) as watch:
        for step in range(1, 10_000):
            watch.phase("data", step)
            if here.rank == 1 and step == AT and how == "data":
                read_shard()
            batches = toy.share(toy.global_batch(step), here, given.train.accumulation(here.data_size))
            watch.phase("step", step)
            if here.rank == 1 and step == AT and how == "mismatch":
                dist.broadcast(torch.zeros(1), 0, group=group)
            engine.train_step(batches, 1e-3)


def hang(run: Path, how: str) -> tuple[dict[str, Any], float]:
    """Let two ranks hang; returns the report, and how long it took from the moment that one stopped."""
    ranks = start_world(2, train_until_it_hangs, run, how)
    try:
        while (beat := watchdog.read(run / "beats" / "beat-00001.json")) is None or beat.step < AT:
            time.sleep(0.05)
            assert ranks[1].is_alive()
        started = time.monotonic()
        if how in ("stopped", "pipeline"):
            os.kill(ranks[1].pid or 0, signal.SIGSTOP)
        while not (run / HANGS).is_file():
            time.sleep(0.05)
            assert time.monotonic() < started + 600
        taken = time.monotonic() - started
        for process in ranks:
            process.join(300)
        assert [process.exitcode for process in ranks] == [HUNG, HUNG]
    finally:
        for process in ranks:
            process.kill()
    return json.loads((run / HANGS).read_text()), taken


@pytest.fixture(scope="module")
def hangs(tmp_path_factory: pytest.TempPathFactory) -> Hangs:
    """Run, report and time of every way to hang, all at once since each of them is a wait."""
    runs = {how: tmp_path_factory.mktemp(how) for how in HOW}
    with ThreadPoolExecutor(len(HOW)) as threads:
        found = threads.map(hang, runs.values(), runs)
        return {how: (runs[how], *one) for how, one in zip(runs, found, strict=True)}


@pytest.mark.parametrize("how", ["stopped", "pipeline"])
def test_a_stopped_rank_is_named_in_time(hangs: Hangs, how: str) -> None:
    """Within the timeout, the interval of the heartbeats and the time in which ranks may answer."""
    run, report, taken = hangs[how]
    assert "rank 1 (process" in report["verdict"]
    assert "does not answer (its process is stopped)" in report["verdict"]
    assert "rank 0, which answers, is at step" in report["verdict"]
    assert taken < 2 * TIMEOUT + 30, "some of it for a busy machine"
    waiting, stopped = report["ranks"]
    assert stopped["silent"]
    assert stopped["beat"]["stack"], "its last heartbeat tells where it was"
    assert waiting["beat"]["place"]["collective"] is not None
    assert any(frame["function"] == "train_step" for frame in waiting["beat"]["stack"])
    assert "watchdog" not in " ".join(waiting["beat"]["threads"])
    assert "train_until_it_hangs" in (run / REPORT).read_text()


def test_a_rank_that_waits_for_data_is_named(hangs: Hangs) -> None:
    sentence = hangs["data"][1]["verdict"]
    assert "rank 1 (process" in sentence
    assert f"at step {AT} (data)" in sentence
    assert "in read_shard: time.sleep(1000)" in sentence
    assert "the others wait for it in all_reduce" in sentence


def test_ranks_in_different_collectives_are_named(hangs: Hangs) -> None:
    sentence = hangs["mismatch"][1]["verdict"]
    assert "ranks are in different collectives" in sentence
    assert "rank 0" in sentence
    assert "waits in all_reduce" in sentence
    assert "waits in broadcast" in sentence
    assert "test_hang.py" in sentence
