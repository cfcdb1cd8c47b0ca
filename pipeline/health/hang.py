"""What is made of a hang: every rank's last words in, the ranks to blame and a report out.

    hangs.jsonl        one JSON object a hang: the verdict, every rank's place and stacks
    hang-report.txt    the same for people; a later hang is added below

A rank whose heart stopped is to blame before one that is elsewhere, and that one before ranks that are in
different collectives; where all wait in the same one, it is the network between them.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from data_prep.contract.receipt import write_atomic
from data_prep.contract.settings import Settings
from pipeline.health.stacks import Frame, Place

HANGS, REPORT = "hangs.jsonl", "hang-report.txt"


class Beat(Settings):
    """What a rank's watchdog writes every few seconds."""

    rank: int
    """The rank."""
    host: str
    """Name of its machine."""
    pid: int
    """Its process there."""
    number: int
    """Counts the beats: a rank is alive where it grows."""
    phase: str
    """What the rank is doing: start, data, step, validation, save."""
    step: int
    """The optimizer step that it is at, counted from 1."""
    sample: int
    """The first sample of that step's global batch, in the endless sample order."""
    seconds: float
    """For how long it has been doing that."""
    place: Place
    """Where its main thread is."""
    stack: list[Frame]
    """The stack of its main thread, outermost frame first."""
    threads: dict[str, list[Frame]] = Field(default_factory=dict)
    """The stacks of its other threads, told once there is an alarm."""


class RankState(Settings):
    beat: Beat
    """The last words of a rank."""
    silent: bool
    """Whether its watchdog said nothing when all were asked."""
    process: str = ""
    """State of the process where this machine runs it: stopped, sleeping, gone."""


def verdict(ranks: list[RankState], missing: list[int], seconds: float) -> str:
    """One sentence: which ranks hold up the others, and where."""
    head = f"no step ended in time (step_timeout_seconds is {seconds:g})"
    silent = [state for state in ranks if state.silent]
    if silent or missing:
        told = [f"{_name(one.beat)} {_silence(one)} and was last seen {_at(one.beat)}" for one in silent]
        told += [f"rank {rank} never said anything" for rank in missing]
        others = [one.beat for one in ranks if not one.silent]
        told += [f"rank {beat.rank}, which answers, is {_at(beat)}" for beat in others[:1]]
        return f"{head}: {'; '.join(told)}"
    beats = [state.beat for state in ranks]
    waiting = [beat for beat in beats if beat.place.collective]
    outside = [beat for beat in beats if not beat.place.collective]
    if waiting and outside:
        told = [f"{_name(beat)} is {_at(beat)}" for beat in outside]
        return f"{head}: {'; '.join(told)}, and the others wait for it in {_calls(waiting)}"
    if waiting and len({(beat.place.collective, beat.phase, beat.step) for beat in waiting}) > 1:
        told = [f"{_name(beat)} is {_at(beat)}" for beat in _odd_first(waiting)]
        return f"{head}: ranks are in different collectives: {'; '.join(told)}"
    if waiting:
        return f"{head}: every rank is {_at(waiting[0])}; the network between them is to be looked at"
    return f"{head}: no rank waits in a collective: {'; '.join(f'{_name(b)} is {_at(b)}' for b in outside)}"


def _name(beat: Beat) -> str:
    return f"rank {beat.rank} (process {beat.pid} on {beat.host})"


def _at(beat: Beat) -> str:
    return f"at step {beat.step} ({beat.phase}) and {beat.place}"


def _silence(state: RankState) -> str:
    return f"does not answer ({state.process})" if state.process else "does not answer"


def _calls(beats: list[Beat]) -> str:
    return ", ".join(sorted({beat.place.collective or "" for beat in beats}))


def _odd_first(beats: list[Beat]) -> list[Beat]:
    """The ranks that fewest others are with come first."""
    crowd = Counter((beat.place.collective, beat.step) for beat in beats)
    return sorted(beats, key=lambda beat: (crowd[beat.place.collective, beat.step], beat.rank))


def write_report(run: Path, sentence: str, ranks: list[RankState]) -> None:
    """Leave the report of a hang in the run's folder, below those of earlier ones."""
    plain = [state.model_dump(mode="json") for state in ranks]
    _extend(run / HANGS, json.dumps({"time": time.time(), "verdict": sentence, "ranks": plain}) + "\n")
    _extend(run / REPORT, "\n".join([time.strftime("%F %T %z"), sentence, "", *lines(ranks)]) + "\n\n")


def _extend(path: Path, text: str) -> None:
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    write_atomic(path, before + text)


def lines(ranks: list[RankState]) -> Iterator[str]:
    """Every rank with its place and the stacks of its threads."""
    for state in ranks:
        beat = state.beat
        yield f"{_name(beat)}: {_silence(state) if state.silent else 'answers'}"
        yield f"  for {beat.seconds:.1f} s {_at(beat)}"
        yield f"  samples from number {beat.sample} on; `bloomery inspect RUN --step {beat.step}` shows them"
        for name, stack in {"main thread": beat.stack, **beat.threads}.items():
            yield f"  {name}"
            yield from (f"    {frame}" for frame in stack)
        yield ""
