"""Checkpoints that are written in the background: stalls, full disks, and which of them stay."""

import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.checkpoints import files, writer
from pipeline.checkpoints.format import Checkpoint, complete
from pipeline.checkpoints.writer import Writer
from pipeline.distributed import world
from pipeline.distributed.signals import agree
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.engine import Engine
from tests.distributed import toy
from tests.distributed.processes import run_world

FILLER, LEFT = "filler", 150_000
"""Bytes that are left on the full disk: room for a share's index, not for a share."""


def start(run: Path) -> tuple[Engine, Writer, list[str]]:
    """An engine over two data-parallel ranks, its writer, and what the writer says on this rank."""
    given = toy.config(toy.GPT)
    here = world.start(given.parallel, given.seed)
    layers = model_layers(given, toy.VOCABULARY, torch.float32)
    objective = objective_of(given.objective)
    engine = Engine(layers, objective, here, given.parallel, given.train, torch.float32, given.seed)
    engine.train_step(toy.share(toy.global_batch(0), here, given.train.accumulation(2)), 1e-2)
    said: list[str] = []
    return engine, Writer(engine, run, given.train, said.append), said


def names(run: Path) -> list[str]:
    """What lies in the folder of checkpoints."""
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def full_disk(run: Path, fill: Callable[[Path, int], Callable[[], None]]) -> dict[str, Any]:
    """Two good checkpoints with one between them that finds no room."""
    writer.FIRST_DELAY = 3600.0
    engine, here, said = start(run)
    here.begin(1)
    here.finish()
    empty = fill(run, engine.world.rank)
    here.begin(2)
    here.finish()
    torch.distributed.barrier()
    seen: dict[str, Any] = {"failed": here.failed, "left": names(run), "at once": here.signals().retry}
    empty()
    here._try_again_at = 0.0  # an hour later
    deadline = time.monotonic() + 600
    while not agree(here.signals(), engine.world).retry:
        assert time.monotonic() < deadline
    here.begin(3)
    metrics = here.finish()
    damage = Checkpoint(complete(run)[-1]).damage()
    seen |= {"said": said, "after": names(run), "failed after": here.failed, "damage": damage} | metrics
    world.stop()
    return seen


def assert_survived(results: list[dict[str, Any]], speaker: int) -> None:
    for rank, seen in enumerate(results):
        assert seen["failed"]
        assert not seen["failed after"]
        assert seen["left"] == ["step-000001"], "the good one alone, and no temporary folder"
        assert seen["after"] == ["step-000001", "step-000003"]
        assert seen["damage"] is None
        assert seen["at once"] == 0, "not before some time has passed"
        assert seen["checkpoint_write_seconds"] > 0
        assert len(seen["said"]) == (rank == speaker), "one rank says it, once"
    assert (
        "the checkpoint of step 2 could not be written ([Errno 28] No space left"
        in results[speaker]["said"][0]
    )


def inject(run: Path, rank: int) -> Callable[[], None]:
    """The second rank's disk refuses."""
    write = files.write_tensors

    def refuse(path: Path, *arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def empty() -> None:
        files.write_tensors = write

    if rank == 1:
        files.write_tensors = refuse
    return empty


def test_one_ranks_disk_is_full(tmp_path: Path) -> None:
    assert_survived(run_world(2, full_disk, tmp_path, inject), speaker=1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB of its own."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def fill_up(run: Path, rank: int) -> Callable[[], None]:
    """Leave too little room on the disk for a share."""
    filler = run / FILLER
    if rank == 0:
        left = os.statvfs(run)
        filler.write_bytes(bytes(left.f_bavail * left.f_bsize - LEFT))
    torch.distributed.barrier()

    def empty() -> None:
        torch.distributed.barrier()
        filler.unlink(missing_ok=True)

    return empty


def test_the_disk_is_full(small_disk: Path) -> None:
    assert_survived(run_world(2, full_disk, small_disk, fill_up), speaker=0)


def slow(run: Path) -> dict[str, Any]:
    """Two saves with no steps between them, the first held back until the second has begun."""
    writer.SAID_FROM = 0.2
    write, released = files.write_tensors, threading.Event()
    files.write_tensors = lambda *arguments: (released.wait(), write(*arguments))[1]
    _, here, said = start(run)
    here.begin(1)
    seen = {"busy": here.signals().busy, "complete": complete(run)}
    threading.Timer(2.0, released.set).start()  # far longer than it takes to get into `begin`
    seen |= here.begin(2)
    here.finish()
    world.stop()
    return seen | {"said": said}


def test_a_save_waits_for_the_one_before_and_for_nothing_else(tmp_path: Path) -> None:
    seen, *_ = run_world(2, slow, tmp_path)
    assert seen["busy"] == 1, "begin came back while the disk held everything back"
    assert seen["complete"] == []
    assert seen["checkpoint_stall_seconds"] > 0.4
    assert seen["checkpoint_write_seconds"] > 0.4, "of the first one, which is now complete"
    assert "the checkpoint of step 2 waited" in seen["said"][-1]
    assert names(tmp_path) == ["step-000001", "step-000002"]


def test_what_stays(tmp_path: Path) -> None:
    for step in range(10, 110, 10):
        (tmp_path / "checkpoints" / f"step-{step:06d}").mkdir(parents=True)
    files.prune(tmp_path, keep=2, every=40)
    assert names(tmp_path) == ["step-000040", "step-000080", "step-000090", "step-000100"]
    files.prune(tmp_path, keep=1, every=None)
    assert names(tmp_path) == ["step-000100"]


def test_files_are_safetensors(tmp_path: Path) -> None:
    """What is written by hand is read by the library, in every type and with an odd number of bytes."""
    from safetensors.torch import load_file

    tensors = {
        "bytes": torch.arange(7, dtype=torch.uint8),
        "floats": torch.randn(3, 5),
        "none": torch.zeros(0),
        "scalar": torch.tensor(1.5, dtype=torch.float64),
        "words": torch.arange(9),
    }
    entry = files.write_tensors(tmp_path / "file", tensors, lambda: None)
    read = load_file(tmp_path / "file")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    assert entry.bytes == (tmp_path / "file").stat().st_size
    assert entry.sha256 == sha256sum(tmp_path / "file")


def sha256sum(path: Path) -> str:
    """The hash by another way than the one under test."""
    return subprocess.run(
        ["sha256sum", str(path)], capture_output=True, text=True, check=True
    ).stdout.split()[0]
