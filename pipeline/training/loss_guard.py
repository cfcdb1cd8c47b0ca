"""What a run does about steps whose numbers are wrong (`loss_spikes`), and what it leaves about them.

    spikes.jsonl    one JSON object for each such step: its numbers, what was done, the documents of its batch
    skipped.json    the batches that the run leaves out, once it has gone back past a spike

Every rank holds the same memory and decides the same: the ranks agree on what a step's numbers were. The
memory is in every checkpoint. `skipped.json` is written before a run goes back, so that a process that is
killed before its next checkpoint leaves the same batches out when it goes on.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.contract.reading import read_json, read_jsonl
from data_prep.contract.receipt import write_atomic
from data_prep.contract.settings import InputError
from pipeline.checkpoints.format import Checkpoint, Index
from pipeline.checkpoints.loop_state import LoopState, Range
from pipeline.distributed.gathering import from_main
from pipeline.distributed.signals import Signals
from pipeline.objectives.batches import BatchSource
from pipeline.training.job import Job
from pipeline.training.loss_spikes import Judgement, batch_of, judge, remember, with_range
from pipeline.training.progress import Progress

SPIKES, SKIPPED = "spikes.jsonl", "skipped.json"
NAMED = 8
"""How many documents a sentence names; the file has all."""


class LossGuard:
    """The steps of one run whose numbers were wrong. All ranks call everything together."""

    def __init__(
        self,
        job: Job,
        source: BatchSource,
        progress: Progress | None,
        start: Index | None,
        notify: Callable[[str], None],
    ) -> None:
        """`start` is the checkpoint that the run goes on from; `progress` is there on the main rank alone."""
        self.job, self.source, self.progress, self.notify = job, source, progress, notify
        memory = start.memory if start else LoopState()
        record = from_main(read_skipped(job.folder) if progress else None)
        self.memory = LoopState.model_validate(memory.model_dump() | (record or {}))

    def batch(self, step: int) -> int:
        """The batch that a step, counted from 0, trains on."""
        return batch_of(step, self.memory.skipped)

    def judge(self, loss: float, norm: float) -> Judgement:
        """What this rank thinks of a step's numbers."""
        return judge(loss, norm, self.memory.recent, self.job.optim)

    def apply(
        self, step: int, loss: float, norm: float, agreed: Signals, newest: Callable[[], Checkpoint | None]
    ) -> Checkpoint | None:
        """Take in what the ranks agreed on; returns the checkpoint to go back to where the recipe says so.

        `newest` finds it. Raises `InputError` where too many steps in a row were not finite.
        """
        own = self.judge(loss, norm)
        kind = "nonfinite" if agreed.nonfinite else "spike" if agreed.spike else "fine"
        judgement = own._replace(kind=kind)  # type: ignore[arg-type]
        back = None
        if kind == "spike" and self.memory.rollbacks < self.job.optim.spike_rollbacks:
            back = newest()
        if back is None:
            self.memory = remember(self.memory, loss, judgement, self.job.optim.spike_window)
        if kind != "fine":
            self._record(step, loss, norm, judgement, back)
        if self.memory.nonfinite > self.job.optim.skip_nonfinite:
            self._end(step, loss, norm)
        return back

    def go_back(self, step: int, index: Index) -> None:
        """The engine is what the checkpoint says: remember what it did, and leave the spike's batches out."""
        spike = self.batch(step)
        left_out: Range = (spike + 1 - self.job.optim.spike_skip, spike + 1)
        first = batch_of(index.step, self.memory.skipped)
        skipped = with_range(self.memory.skipped, (max(left_out[0], first), left_out[1]))
        record = {"skipped": skipped, "rollbacks": self.memory.rollbacks + 1}
        self.memory = index.memory.model_copy(update=record)
        if self.progress:
            write_atomic(self.job.folder / SKIPPED, json.dumps(record) + "\n")
            self.progress.tracker.go_back(index.step)

    def _record(
        self, step: int, loss: float, norm: float, judgement: Judgement, back: Checkpoint | None
    ) -> None:
        """Leave a line about a step, and say it."""
        if self.progress is None:
            return
        batch, numbers = self.batch(step), {"loss": loss, "gradient_norm": norm}
        action = "left out" if judgement.kind == "nonfinite" else "kept"
        if back is not None:
            action = f"gone back to step {back.index.step}"
        line: dict[str, Any] = {"step": step + 1, "batch": batch, "time": time.time(), "kind": judgement.kind}
        limits = {"median": judgement.median, "limit": judgement.limit}
        plain = {name: value if math.isfinite(value) else None for name, value in (numbers | limits).items()}
        line |= plain | {"action": action, "documents": self.source.documents(batch)}
        write_incident(self.job.folder / SPIKES, line)
        self.notify(f"{self.job.stage}: {say(step, loss, norm, judgement)}; {action}")
        self._tell(judgement.kind)

    def _tell(self, kind: str) -> None:
        assert self.progress
        counts = [line["kind"] for line in read_incidents(self.job.folder / SPIKES)]
        self.progress.tracker.tags({f"bloomery.{kind}_steps": str(counts.count(kind))})
        self.progress.tracker.artifact(self.job.folder / SPIKES)

    def _end(self, step: int, loss: float, norm: float) -> None:
        """End the run with one sentence, which the main rank knows."""
        path, sentence = self.job.folder / SPIKES, ""
        if self.progress:
            documents = read_incidents(path)[-1]["documents"]
            sentence = (
                f"{self.job.stage}: the loss or its gradient was not finite in {self.memory.nonfinite} steps "
                f"in a row, the last of them step {step + 1} (loss {loss:g}, gradient norm {norm:g}), more "
                f"than skip_nonfinite {self.job.optim.skip_nonfinite}; its batch holds {named(documents)} "
                f"(all in {path}); lower the learning rate, or look at these documents"
            )
        raise InputError(from_main(sentence))


def say(step: int, loss: float, norm: float, judgement: Judgement) -> str:
    """One line about a step."""
    if judgement.kind == "nonfinite":
        return f"step {step + 1} is not finite (loss {loss:g}, gradient norm {norm:g})"
    return (
        f"step {step + 1} is a spike (loss {loss:.4f}, gradient norm {norm:.2f}; the median before it is "
        f"{judgement.median:.4f}, the limit {judgement.limit:.4f})"
    )


def named(documents: list[dict[str, Any]]) -> str:
    """Some documents by name."""
    names = [str(one.get("url") or one.get("source") or one["document"]) for one in documents]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"the documents {', '.join(names[:NAMED])}{more}" if names else "no documents"


def read_incidents(path: Path) -> list[dict[str, Any]]:
    """Every line; empty without a file."""
    return [line for _, line in read_jsonl(path)] if path.is_file() else []


def write_incident(path: Path, line: dict[str, Any]) -> None:
    """Add a line, in place of the one that an interrupted process left about the same step and batch."""
    place = (line["step"], line["batch"])
    kept = [one for one in read_incidents(path) if (one["step"], one["batch"]) != place]
    write_atomic(path, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in [*kept, line]))


def read_skipped(run: Path) -> dict[str, Any] | None:
    """What `skipped.json` says of a run: its batches that are left out and how often it went back."""
    path = run / SKIPPED
    return read_json(path) if path.is_file() else None
