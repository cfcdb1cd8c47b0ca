"""Writing checkpoints behind the training's back.

`begin` copies what this rank holds to host memory and lets a thread write it. The threads of different ranks
never talk to one another: each leaves a file that says its share is on disk, and the training threads agree
at the end of a step (`signals`) that all shares are there or that one failed. Then a thread of the main
rank publishes the checkpoint, or removes what there is of it. At most one checkpoint is in flight.

A disk that is full ends no run: the last good checkpoint stays, and writing is tried again when the disk has
room for a checkpoint, or else with the next one that is due.
"""

import shutil
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

from torch import Tensor

from data_prep.contract.receipt import write_atomic
from pipeline.checkpoints import files
from pipeline.checkpoints.loop_state import LoopState
from pipeline.checkpoints.run_folder import checkpoint_folder
from pipeline.checkpoints.snapshot import Buffers, Snapshot
from pipeline.config import OptimizerConfig
from pipeline.distributed.gathering import from_main
from pipeline.distributed.signals import Signals, agree
from pipeline.parallel.engine import Engine

LAST_DELAYS = (5.0, 10.0, 20.0, *[60.0] * 10)
"""Seconds between attempts at the last checkpoint of a run, which nothing comes after."""
FIRST_DELAY = 5.0
"""Seconds after which a failed checkpoint may be tried again; they double with each failure."""
SAID_FROM = 0.5
"""Seconds from which waiting for the checkpoint before is worth a line."""

say = partial(print, flush=True)


class AbandonedError(Exception):
    """Another rank could not write its share, so this one need not."""


class Writer:
    """The checkpoints of one run. All ranks call `begin`, `apply` and `finish` together."""

    def __init__(
        self, engine: Engine, run: Path, optim: OptimizerConfig, say: Callable[[str], None] = say
    ) -> None:
        self.world, self.run, self.optim, self.say = engine.world, run, optim, say
        self._engine, self._buffers = engine, Buffers(engine)
        if self.world.is_main:
            files.remove_orphans(run)
        self._token = from_main(uuid.uuid4().hex[:8])
        self._phase: Literal["idle", "share", "publish"] = "idle"
        self._step = self._updates = 0
        self._memory = LoopState()
        self._experience: dict[str, Tensor] = {}
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._abandoned = threading.Event()
        self._seconds = 0.0
        self._delay = FIRST_DELAY
        self._try_again_at: float | None = None

    def begin(
        self, step: int, memory: LoopState | None = None, experience: dict[str, Tensor] | None = None
    ) -> dict[str, float]:
        """Start writing the checkpoint of a step that is done; waits for one that is still being written.

        `experience` is the same on all ranks, and nobody writes to it.
        """
        began = time.perf_counter()
        before, metrics = self._step, self.finish()
        waited = time.perf_counter() - began
        if waited > SAID_FROM:
            self._tell(
                f"the checkpoint of step {step} waited {waited:.1f} s for that of step {before} to be "
                "written; a larger checkpoint_every avoids it"
            )
        self._step, self._seconds, self._try_again_at = step, 0.0, None
        self._memory, self._updates = memory or LoopState(), self._engine.updates
        self._experience = experience or {}
        self._abandoned.clear()
        snapshot = self._buffers.take()
        if self.world.is_main and self._experience:
            snapshot.files["experience"] = self._experience
        self._start("share", lambda: self._write_share(snapshot))
        return metrics | {"checkpoint_stall_seconds": time.perf_counter() - began}

    def signals(self) -> Signals:
        """What this rank has to say at the end of a step."""
        busy = self._thread is not None and self._thread.is_alive()
        refused = not busy and self._error is not None and not isinstance(self._error, AbandonedError)
        failed = self.world.size - self.world.rank if refused else 0
        retry = self.world.is_main and self._room_again()
        return Signals(
            busy=int(busy), failed=failed, retry=int(retry), milliseconds=round(1000 * self._seconds)
        )

    def apply(self, agreed: Signals) -> dict[str, float]:
        """Take the next step in what is being written; returns metrics when it is complete."""
        if self._phase == "idle":
            return {}
        if agreed.failed:
            self._abandoned.set()
        if agreed.busy:
            return {}
        if agreed.failed:
            self._give_up(agreed)
        elif self._phase == "share":
            self._start("publish", self._publish if self.world.is_main else None)
        else:
            self._phase, self._delay = "idle", FIRST_DELAY
            return {"checkpoint_write_seconds": agreed.milliseconds / 1000}
        return {}

    def finish(self) -> dict[str, float]:
        """Wait until what is being written is complete or given up; returns its metrics."""
        metrics: dict[str, float] = {}
        while self._phase != "idle":
            if self._thread is not None:
                self._thread.join()
            metrics |= self.apply(agree(self.signals(), self.world))
        return metrics

    def finish_last(self) -> dict[str, float]:
        """`finish` for the last checkpoint of a run: tried again for ten minutes, then `OSError`."""
        metrics = self.finish()
        for delay in LAST_DELAYS:
            if not self.failed:
                return metrics
            self._tell(f"the last checkpoint is tried again in {delay:.0f} s; make room on the disk")
            time.sleep(delay)
            self.begin(self._step, self._memory, self._experience)
            metrics = self.finish()
        if self.failed:
            raise OSError(f"the last checkpoint of {self.run} could not be written")
        return metrics

    @property
    def failed(self) -> bool:
        """Whether the newest checkpoint that was begun could not be written."""
        return self._try_again_at is not None

    @property
    def bytes(self) -> int:
        """Size of this rank's share of a checkpoint."""
        return self._buffers.bytes

    def _start(self, phase: Literal["share", "publish"], work: Callable[[], None] | None) -> None:
        self._phase, self._error, self._thread = phase, None, None
        if work:
            self._thread = threading.Thread(target=self._run, args=(work,), name=f"checkpoint-{phase}")
            self._thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        began = time.perf_counter()
        try:
            work()
        except BaseException as error:
            self._error = error
        self._seconds += time.perf_counter() - began

    @property
    def _temporary(self) -> Path:
        target = checkpoint_folder(self.run, self._step)
        return target.with_name(f".{target.name}.{self._token}.tmp")

    def _write_share(self, snapshot: Snapshot) -> None:
        folder = self._temporary
        folder.mkdir(parents=True, exist_ok=True)
        snapshot.wait()
        written = {}
        for kind, tensors in snapshot.files.items():
            name = f"{kind}-{self.world.rank:05d}.safetensors"
            written[name] = files.write_tensors(folder / name, tensors, self._check)
        share = files.RankShare(tensors=snapshot.tensors, files=written)
        write_atomic(files.share_path(folder, self.world.rank), share.model_dump_json())

    def _check(self) -> None:
        if self._abandoned.is_set():
            raise AbandonedError

    def _publish(self) -> None:
        scale = self.optim.lora.scale if self.optim.lora else 1.0
        index = files.index(self._temporary, self.world, self._step, self._updates, self._memory, scale)
        files.publish(self._temporary, checkpoint_folder(self.run, self._step), index)
        try:
            files.prune(self.run, self.optim.keep_checkpoints, self.optim.keep_every, self._memory.best_step)
        except OSError as error:
            self.say(f"{self.run}: an old checkpoint could not be removed ({error}); tried again later")

    def _give_up(self, agreed: Signals) -> None:
        """Remove what was written; only a disk that refuses may go by, any other error is raised."""
        error, self._phase = self._error, "idle"
        if error is not None and not isinstance(error, OSError | AbandonedError):
            raise error
        if agreed.failed == self.world.size - self.world.rank:
            self.say(
                f"the checkpoint of step {self._step} could not be written ({error}); the one before it "
                "stays, and it is tried again when there is room"
            )
        if self.world.is_main:
            with suppress(OSError):
                shutil.rmtree(self._temporary)
        self._try_again_at = time.monotonic() + self._delay
        self._delay *= 2

    def _room_again(self) -> bool:
        """Whether the disk has room for what failed, by the sizes of this rank's share."""
        if self._try_again_at is None or time.monotonic() < self._try_again_at:
            return False
        needed = self.bytes * self.world.size
        return shutil.disk_usage(self.run).free > needed

    def _tell(self, line: str) -> None:
        if self.world.is_main:
            self.say(line)
