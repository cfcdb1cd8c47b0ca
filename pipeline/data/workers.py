"""Worker processes that make batches, for noise too costly for one thread.

A worker is `python -m pipeline.data.workers`, started with exec, so it shares nothing with a process that
holds a GPU and threads. It is asked for a step by a line on its stdin and answers on its stdout: a length,
a JSON header, the arrays' bytes. Nothing outlives it: no shared memory, no locks. When a worker is killed
its pipe ends, and another is started for the same step; when that keeps happening the run ends with a
sentence that names the shards. When the parent is killed the worker's stdin ends, and it stops.
"""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from data_prep.contract.settings import InputError
from pipeline.config import OptimizerConfig, PipelineConfig
from pipeline.data.maker import Maker
from pipeline.data.making import maker_of
from pipeline.objectives.batches import Batch

ATTEMPTS = 3
"""How often a step is tried before workers that die end the run."""


@dataclass(frozen=True)
class WorkerJob:
    """What a worker makes batches of."""

    config: PipelineConfig
    dataset: str
    data_rank: int
    data_size: int

    def to_line(self) -> str:
        """One line of JSON."""
        parts = {"dataset": self.dataset, "data_rank": self.data_rank, "data_size": self.data_size}
        config = self.config.model_dump(mode="json")
        # What a kind of training adds to these keys makes no batch, and nothing here knows the kind.
        config["train"] = {key: config["train"][key] for key in OptimizerConfig.model_fields}
        return json.dumps({"config": config, **parts})

    @staticmethod
    def from_line(line: str) -> "WorkerJob":
        """The job that `to_line` wrote."""
        parts = json.loads(line)
        return WorkerJob(PipelineConfig.model_validate(parts.pop("config")), **parts)


class WorkerDiedError(Exception):
    """The process ended before it had answered."""


class Worker:
    """One process and the pipes to it; answers one request at a time."""

    def __init__(self, job: WorkerJob) -> None:
        self.job = job
        self.lock = threading.Lock()
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "pipeline.data.workers"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with suppress(BrokenPipeError):  # if it died at once, the first request finds out
            _send_line(process, self.job.to_line())
        return process

    def ask(self, step: int) -> list[Batch]:
        """The batches of a step. `WorkerDiedError` where the process ends, `InputError` as it reports."""
        try:
            _send_line(self.process, str(step))
            assert self.process.stdout is not None
            return read_batches(self.process.stdout)
        except (EOFError, BrokenPipeError) as error:
            raise WorkerDiedError(how_it_ended(self.process.wait())) from error

    def restart(self) -> None:
        """Start another process in place of one that has ended."""
        self.stop()
        self.process = self._start()

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                _close(pipe)


class WorkerPool:
    """Several workers; any of them can make any step."""

    def __init__(self, job: WorkerJob, count: int, maker: Maker) -> None:
        self.maker = maker
        self.workers = [Worker(job) for _ in range(count)]

    def step(self, step: int) -> list[Batch]:
        """The micro batches of a step; callable from several threads. Raises `InputError`."""
        worker = self.workers[step % len(self.workers)]
        with worker.lock:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return worker.ask(step)
                except WorkerDiedError as error:
                    shards = ", ".join(self.maker.shards(step))
                    what = f"a loader worker {error} while it made step {step} from {shards}"
                    if attempt == ATTEMPTS:
                        raise InputError(
                            f"{what}, {ATTEMPTS} times; check the memory of the machine and the shard"
                        ) from error
                    print(f"{what}; another one takes over", file=sys.stderr)
                    worker.restart()
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.stop()


def how_it_ended(status: int) -> str:
    """An exit status in words."""
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _send_line(process: "subprocess.Popen[bytes]", line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()


def _close(pipe: IO[bytes]) -> None:
    with suppress(BrokenPipeError):  # what was still buffered had nobody to read it
        pipe.close()


def write_batches(stream: IO[bytes], batches: list[Batch]) -> None:
    """Length, JSON header, then the bytes of every array."""
    arrays = [np.ascontiguousarray(array) for batch in batches for array in batch.values()]
    names = [list(batch) for batch in batches]
    header = {"names": names, "arrays": [(array.dtype.str, array.shape) for array in arrays]}
    _write_header(stream, header)
    for array in arrays:
        stream.write(array.data)
    stream.flush()


def _write_header(stream: IO[bytes], header: dict[str, Any]) -> None:
    encoded = json.dumps(header).encode()
    stream.write(struct.pack("<q", len(encoded)) + encoded)


def read_batches(stream: IO[bytes]) -> list[Batch]:
    """What `write_batches` wrote. EOFError where the stream ends early, `InputError` where it says so."""
    (length,) = struct.unpack("<q", _read(stream, 8))
    header = json.loads(_read(stream, length))
    if "error" in header:
        raise InputError(header["error"])
    arrays = iter([_read_array(stream, dtype, shape) for dtype, shape in header["arrays"]])
    return [{name: next(arrays) for name in names} for names in header["names"]]


def _read(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _read_array(stream: IO[bytes], dtype: str, shape: list[int]) -> "np.ndarray[Any, Any]":
    array = np.empty(shape, dtype)
    view = array.reshape(-1).view(np.uint8).data
    at = 0
    while at < len(view):
        got = stream.readinto(view[at:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError
        at += got
    return array


def main() -> None:
    """The worker's side: a job, then steps, until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # that is the parent's business; it closes our stdin
    job = WorkerJob.from_line(sys.stdin.readline())
    maker = None
    for line in sys.stdin:
        try:
            maker = maker or maker_of(job.config, job.dataset, job.data_rank, job.data_size)
            batches = maker.step(int(line))
        except InputError as error:
            _write_header(answers, {"error": str(error)})
            answers.flush()
        else:
            write_batches(answers, batches)


if __name__ == "__main__":
    main()
