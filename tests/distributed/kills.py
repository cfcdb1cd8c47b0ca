"""A training that is killed again and again ends as one that never was, and leaves nothing lying about.

    python -m tests.distributed.kills --kills 20 [--seed 0]

Each SIGKILL waits for a moment of its kind (in a step, in an evaluation, while a checkpoint is written, when
it is about to be renamed), then for a random part of a step, and hits a rank, the launcher or the supervisor.
The supervisor starts the training again; where it was hit itself, the same command is given again.
Losses have to be equal to the last bit.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipeline.checkpoints.run_folder import saved_steps
from pipeline.health.stopping import RESUME
from pipeline.tracking import metrics
from tests.pipeline import tiny

RECIPE = """
name: kills
model: {{layers: 2, hidden_size: 64, heads: 2, dropout: 0.1}}
data: {{sequence_length: 32}}
parallel: {{data: 2}}
train:
  steps: {steps}
  global_batch: 8
  micro_batch: 2
  learning_rate: 1.0e-3
  validate_every: 7
  validation_samples: 64
  checkpoint_every: 5
  log_every: 1000
supervise: {{restarts: 3, backoff_seconds: 0}}
tracking: {{enabled: false, system_every: 0}}
"""
COMMAND = [sys.executable, "-c", "from launch.cli import main; main()", "train"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
MOMENTS = ("step", "evaluation", "save", "rename")
TARGETS = ("rank", "launcher", "supervisor")


@dataclass
class Disturbed:
    """A training and what was done to it."""

    command: list[str]
    run: Path
    log: Path
    chance: random.Random
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Give the command."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=ENVIRONMENT)

    def kill(self, moment: str, target: str) -> bool:
        """Wait for a moment and kill; False where the training ended before."""
        assert self.process is not None
        supervisor = psutil.Process(self.process.pid)
        if not self.wait(lambda: bool(ranks(supervisor))):
            return False
        reached = metrics.newest_step(self.run / metrics.METRICS)
        wanted = reached + self.chance.randint(1, 12)
        if not self.wait(lambda: metrics.newest_step(self.run / metrics.METRICS) >= wanted):
            return False
        if not self.wait(lambda: self.is_moment(moment)):
            return False
        time.sleep(self.chance.random() * 0.01)
        found = {"rank": ranks(supervisor), "launcher": supervisor.children(), "supervisor": [supervisor]}
        if not found[target]:
            return False
        self.chance.choice(found[target]).kill()
        self.kills[moment, target] += 1
        if target == "supervisor":
            self.process.wait()
            self.start()
        return True

    def ask_to_stop(self) -> None:
        """SIGTERM for the supervisor: it has to leave with 75, and the same command goes on."""
        assert self.process is not None
        supervisor = psutil.Process(self.process.pid)
        assert self.wait(lambda: bool(ranks(supervisor)))
        reached = metrics.newest_step(self.run / metrics.METRICS)
        assert self.wait(lambda: metrics.newest_step(self.run / metrics.METRICS) > reached)
        self.process.terminate()
        assert self.process.wait(600) == RESUME, self.log.read_text()
        steps = saved_steps(self.run)
        assert steps[-1] == metrics.newest_step(self.run / metrics.METRICS), "it saved its last step"
        self.start()

    def is_moment(self, moment: str) -> bool:
        """Whether the training is in a moment of this kind."""
        if moment == "evaluation":
            return metrics.newest_step(self.run / metrics.METRICS) % 7 == 6
        written = [*(self.run / "checkpoints").glob(".step-*.tmp")]
        if moment == "save":
            return bool(written)
        return moment == "step" or any((folder / "share-00001.json").exists() for folder in written)

    def wait(self, condition: Callable[[], bool], seconds: float = 900.0) -> bool:
        """Until something is so; False where the training ends first."""
        assert self.process is not None
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < end, f"nothing happened for {seconds} s:\n{self.log.read_text()}"
            time.sleep(0.001)
        return True


def ranks(supervisor: psutil.Process) -> list[psutil.Process]:
    """The processes that train."""
    found = []
    for process in supervisor.children(recursive=True):
        try:
            if (
                any(word.endswith("launch/train.py") for word in process.cmdline())
                and "-m" not in process.cmdline()
            ):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def command(folder: Path, work: Path) -> list[str]:
    """What a user would type."""
    return [*COMMAND, str(folder / "kills.yaml"), "--work", str(work)]


def dataset(folder: Path) -> None:
    """A dataset of 400 documents, 60 for validation."""
    texts = {"train": range(400), "validation": range(1000, 1060)}
    documents = {split: [" ".join(tiny.sentences(4, n)) for n in seeds] for split, seeds in texts.items()}
    tiny.dataset(folder, documents)


def prepare(folder: Path, dataset: Path, steps: int) -> None:
    """A recipe and two work folders that are ready for it."""
    (folder / "kills.yaml").write_text(RECIPE.format(steps=steps))
    for name in ("calm", "disturbed"):
        (folder / name).mkdir()
        (folder / name / "dataset").symlink_to(dataset)


def plan_of(kills: int, chance: random.Random) -> list[tuple[str, str]]:
    """Moments and targets: every pair comes in twelve kills, since 4 and 3 have no common divisor."""
    plan = [(MOMENTS[n % 4], TARGETS[n % 3]) for n in range(kills)]
    chance.shuffle(plan)
    return plan


def disturb(folder: Path, plan: list[tuple[str, str]], chance: random.Random) -> Disturbed:
    """Train with these SIGKILLs and a SIGTERM; returns when the training has ended by itself."""
    work = folder / "disturbed"
    training = Disturbed(command(folder, work), work / "pretrain", folder / "log", chance)
    training.start()
    for moment, target in plan:
        assert training.kill(moment, target), f"it ended before all kills:\n{training.log.read_text()}"
    training.ask_to_stop()
    assert training.process is not None
    status = training.process.wait(timeout=900)
    assert status == 0, training.log.read_text()
    return training


def series(work: Path) -> list[tuple[int, float, float, float | None]]:
    """What has to be equal."""
    lines = metrics.read(work / "pretrain" / metrics.METRICS)
    return [(one["step"], one["loss"], one["gradient_norm"], one.get("validation_loss")) for one in lines]


def files(work: Path) -> set[str]:
    """Everything that lies in a work folder, but for the dataset."""
    return {str(path.relative_to(work)) for path in work.rglob("*") if "dataset" not in path.parts}


def assert_equal(folder: Path) -> None:
    """The disturbed training has the metrics and the files of the calm one."""
    assert series(folder / "disturbed") == series(folder / "calm")
    assert files(folder / "disturbed") == files(folder / "calm")


def main() -> int:
    """Train once in peace and once disturbed, and say what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset(folder / "dataset")
        prepare(folder, folder / "dataset", steps=30 * options.kills)
        began = time.monotonic()
        subprocess.run(command(folder, folder / "calm"), check=True, env=ENVIRONMENT)
        calm = time.monotonic() - began
        began = time.monotonic()
        chance = random.Random(options.seed)
        training = disturb(folder, plan_of(options.kills, chance), chance)
        disturbed = time.monotonic() - began
        for (moment, target), count in sorted(training.kills.items()):
            print(f"{count} x SIGKILL of a {target} in a moment of {moment}")
        assert_equal(folder)
        lines = len(series(folder / "calm"))
    print(f"{lines} steps: {calm:.0f} s in peace, {disturbed:.0f} s with {options.kills} SIGKILLs")
    print("the same losses, gradient norms and validation losses to the last bit; no file too many")
    return 0


if __name__ == "__main__":
    sys.exit(main())
