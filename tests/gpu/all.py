"""Everything that is to be known of a GPU, in ten minutes and in the order of its worth.

    python -m tests.gpu.all                         on a machine with a GPU
    python -m tests.gpu.all                         again: goes on with what is left, or says that nothing is
    python -m tests.gpu.all --device cpu --tiny     a proof on any machine, in less than five minutes
    python -m tests.gpu.all --only '1.3b'           the pieces whose names have this in them

The GPU tests; tokens/s, MFU and peak memory of decoders, T5 and BERT beside transformers' models and beside
bare matrix products of the same run; each lever apart; and a trace. `--out` (runs/gpu) has

    results.jsonl   what each piece found, kept as it comes
    table.md        all of it for people
    trace-*.json.gz for Perfetto
    tests.txt       what pytest said

A piece that fails or takes too long is told and passed over; a second call tries it again. What a piece takes
is bounded by what is left of `--minutes`. Figures of another device are never mixed: each has its own folder.
"""

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launch.quiet import quieten
from tests.gpu.table import table

START_SECONDS = 60.0
"""For a worker to load what it needs; on a busy machine."""
MARK = "tests.gpu "


def main() -> int:
    """Run what is left; 1 where something has failed."""
    options = parse()
    quieten()
    ends = time.monotonic() + 60 * options.minutes
    if options.device == "cpu":
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}
    device = name_of_device()
    out = (
        options.out
        / ("tiny" if options.tiny else "full")
        / "".join(c if c.isalnum() else "-" for c in device)
    )
    out.mkdir(parents=True, exist_ok=True)
    results = out / "results.jsonl"
    kept = read(results)
    planned = {piece.name: piece.seconds for piece in plan() if options.only in piece.name}
    left = [name for name in planned if options.again or "found" not in kept.get(name, {})]
    print(f"{device}: {len(left)} of {len(planned)} pieces to do in {options.minutes:g} minutes, into {out}")
    for name, line in work(left, planned, ends, out, options.tiny):
        kept[name] = line
        with results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{line['seconds']:7.1f} s  {name}: {line.get('reason') or brief(line['found'])}", flush=True)
    text = table({name: kept[name] for name in planned if name in kept}, device)
    (out / "table.md").write_text(text)
    print(text)
    missing = [name for name in planned if "found" not in kept.get(name, {})]
    if missing:
        print(f"left for another call: {', '.join(missing)}")
    print(f"gpu pieces={len(planned) - len(missing)}/{len(planned)}")
    return int(any("reason" in kept.get(name, {}) for name in planned))


def plan() -> list[Any]:
    """All pieces; loading them loads torch."""
    from tests.gpu.pieces import pieces

    return pieces()


def name_of_device() -> str:
    """What figures are of."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def read(results: Path) -> dict[str, dict[str, Any]]:
    """What earlier calls have kept, the last line of each piece; a line that was cut off is none."""
    kept = {}
    for text in results.read_text().splitlines() if results.exists() else ():
        try:
            line = json.loads(text)
            kept[line["name"]] = line
        except (ValueError, KeyError, TypeError):
            continue
    return kept


def brief(found: dict[str, Any]) -> str:
    """A line about a piece."""
    if "ms" in found:
        mfu = f", MFU {100 * found['mfu']:.1f} %" if found["mfu"] else ""
        return f"{found['ms']:.1f} ms a step, {found['tokens_per_second']:,.0f} tokens/s{mfu}"
    return json.dumps(found)[:160]


def work(
    left: list[str], planned: dict[str, float], ends: float, out: Path, tiny: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines to keep, as pieces end; those that there is no time for are not begun.

    One worker does piece after piece. One that takes too long, or dies, is ended, and another goes on behind
    the piece that it was at.
    """
    left = list(left)
    while left and time.monotonic() < ends:
        worker = Worker(left, out, tiny)
        try:
            for name in list(left):
                began = time.monotonic()
                limit = min(planned[name] + (START_SECONDS if worker.is_new else 0), ends - began)
                if limit <= 0:
                    return
                line = worker.next(limit)
                left.remove(name)
                spent = time.monotonic() - began
                if line is None and began + limit >= ends:
                    return  # nothing is known of it: the time was up
                reason = f"not done in {limit:.0f} s" if worker.lives else "its process ended"
                line = line or {"reason": reason}
                yield name, {"name": name, "seconds": spent, **line}
                if not worker.lives or line.get("reason") == reason:
                    break
        finally:
            worker.end()


class Worker:
    """A process that does pieces, and what it says."""

    def __init__(self, names: list[str], out: Path, tiny: bool) -> None:
        command = [sys.executable, "-m", "tests.gpu.worker", "--out", str(out), *(["--tiny"] * tiny), *names]
        self.log = (out / "worker.log").open("a")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, text=True, start_new_session=True
        )
        self.is_new = True
        self._said: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            if text.startswith(MARK):
                self._said.put(text.removeprefix(MARK))
            else:
                self.log.write(text)
        self._said.put(None)

    @property
    def lives(self) -> bool:
        """Whether it may still say something."""
        return self.process.poll() is None

    def next(self, limit: float) -> dict[str, Any] | None:
        """What comes of the next piece; None after `limit` seconds, or where the process has ended."""
        self.is_new = False
        ends = time.monotonic() + limit
        while True:
            try:
                text = self._said.get(timeout=max(0.0, ends - time.monotonic()))
            except queue.Empty:
                return None
            if text is None:
                self.process.wait()
                return None
            line = json.loads(text)
            if "found" in line:
                return {"found": line["found"]}
            if "reason" in line:
                return {"reason": line["reason"]}

    def end(self) -> None:
        """End it and all that it has started."""
        if self.lives:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto")
    parser.add_argument("--tiny", action="store_true", help="models of a test's size")
    parser.add_argument("--minutes", type=float, default=9.5)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--only", default="", help="pieces with this in their names")
    parser.add_argument("--again", action="store_true", help="also what has been done")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
