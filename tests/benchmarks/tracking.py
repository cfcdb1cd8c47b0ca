"""What watching a step costs the training loop: ours, beside MLflow's own calls, and no watching at all.

    python -m tests.benchmarks.tracking [--at-least 10] [--steps 200] [--milliseconds 20] [--repeats 3]

A step is a fixed number of matrix products in numpy, about as many milliseconds as wanted, then ten metrics
are logged to a new SQLite store on local disk. The cost is the time of the loop beyond that of the same loop
without logging, by step. "All that watches" is the logging and whatever else the training loop does to be
watched: the watchdog's thread and phases, the judgement of the loss, and the ranks' agreement, which carries
memory and the rest (of one rank here; among more it costs the latency of one small all-reduce). The peer is
`mlflow.log_metrics`, called as its documentation shows; beside it, its asynchronous form. The ratio is the
peer's cost to that of our logging.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.checkpoints.loop_state import LoopState
from pipeline.config import OptimizerConfig, TrackingConfig
from pipeline.distributed import world
from pipeline.distributed.signals import Signals, agree
from pipeline.health import memory, watchdog
from pipeline.tracking.server import connect
from pipeline.tracking.tracker import Tracker
from pipeline.training.loss_spikes import judge, remember

NAMES = (
    "loss",
    "learning_rate",
    "gradient_norm",
    "tokens_per_second",
    "model_flops_per_second",
    "data_wait_share",
    "mfu",
    "peak_host_megabytes",
    "restarts",
    "validation_loss",
)
Log = Callable[[int, dict[str, float]], None]


def calibrate(milliseconds: float) -> int:
    """How many products make a step of so many milliseconds."""
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < 0.5:
        products(1)
        count += 1
    return max(1, round(milliseconds / 1000 * count / (time.perf_counter() - started)))


def products(count: int) -> None:
    """Work that holds a core and leaves the interpreter free, as a training step does."""
    for _ in range(count):
        MATRIX @ MATRIX


def loop(steps: int, work: int, log: Log) -> float:
    """Seconds of a loop of steps that each end by logging."""
    started = time.perf_counter()
    for step in range(1, steps + 1):
        products(work)
        log(step, dict.fromkeys(NAMES, float(step)))
    return time.perf_counter() - started


def ours(folder: Path, steps: int, work: int) -> float:
    """A tracker, as the training loop has it; `close` is outside of the loop."""
    run = Tracker(folder / "demo" / "pretrain", folder / "demo", "pretrain", {}, TrackingConfig())
    run.start_from(0)
    seconds = loop(steps, work, run.log)
    run.close()
    return seconds


def watched(folder: Path, steps: int, work: int) -> float:
    """All that the training loop does to be watched."""
    optim, here, numbers = OptimizerConfig(), world.start_alone(), LoopState()
    run = Tracker(folder / "demo" / "pretrain", folder / "demo", "pretrain", {}, TrackingConfig())
    run.start_from(0)
    beats = folder / "beats"
    watchdog.open_folder(beats)
    with watchdog.Watchdog(beats, folder, 0, 1, optim.step_timeout_seconds) as watch:

        def log(step: int, values: dict[str, float]) -> None:
            nonlocal numbers
            watch.phase("data", step, step)
            watch.phase("step", step)
            judgement = judge(5.0, 1.0, numbers.recent, optim)
            agree(Signals(host_megabytes=memory.host_peak()), here)
            numbers = remember(numbers, 5.0, judgement, optim.spike_window)
            run.log(step, values)

        seconds = loop(steps, work, log)
    run.close()
    return seconds


def mlflow_calls(folder: Path, steps: int, work: int, synchronous: bool) -> float:
    """MLflow's fluent interface."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    with mlflow.start_run():
        seconds = loop(
            steps, work, lambda step, values: mlflow.log_metrics(values, step=step, synchronous=synchronous)
        )
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    return seconds


def measure(steps: int, work: int, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of a step without logging, and what each way of logging adds to it, by repeat."""
    ways: dict[str, Callable[[Path], float]] = {
        "our logging": lambda folder: ours(folder, steps, work),
        "all that watches": lambda folder: watched(folder, steps, work),
        "mlflow.log_metrics": lambda folder: mlflow_calls(folder, steps, work, True),
        "the same, asynchronous": lambda folder: mlflow_calls(folder, steps, work, False),
    }
    costs: dict[str, list[float]] = {name: [] for name in (BARE, *ways)}
    for _ in range(repeats):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                connect(f"sqlite:///{folder}/mlflow.db").search_experiments()
                bare = loop(steps, work, lambda step, values: None)
                costs[BARE].append(1000 * bare / steps)
                costs[name].append(1000 * (way(Path(folder)) - bare) / steps)
    return costs


def main() -> int:
    """Print the table and the ratio; 1 where it is below `--at-least`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--at-least", type=float, default=0.0)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--milliseconds", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    work = calibrate(options.milliseconds)
    costs = measure(options.steps, work, options.repeats)
    print(f"{options.steps} steps of about {options.milliseconds:g} ms, {options.repeats} repeats")
    print(f"{'':<24}{'ms a step':>10}  {'lowest':>8}  {'highest':>8}  {'of the step':>11}")
    bare = statistics.median(costs[BARE])
    for name, values in costs.items():
        middle = statistics.median(values)
        told = f"{middle:.3f}" if name == BARE else f"+{middle:.3f}"
        share = "" if name == BARE else f"{middle / bare:.2%}"
        print(f"{name:<24}{told:>10}  {min(values):>8.3f}  {max(values):>8.3f}  {share:>11}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    ratio = statistics.median(costs["mlflow.log_metrics"]) / max(
        1e-3, statistics.median(costs["our logging"])
    )
    print(f"tracking ratio={ratio:.1f}")
    return int(ratio < options.at_least)


BARE = "the step alone"
MATRIX = np.random.default_rng(0).random((192, 192))

if __name__ == "__main__":
    sys.exit(main())
