"""A training on three hosts goes on when one of them loses its processes, and then its link.

    python -m tests.distributed.lost_hosts [--host 3] [--steps 300]

`bloomery train --hostfile` runs on the login host. All processes of a host are killed with SIGKILL: the run
goes on with all hosts. Then the host's cable is pulled: the run goes on with the other two, with the same
global batches. The losses are those of a run that nothing happened to.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.tracking import metrics
from tests.distributed.hosts import Cluster, hosts, why_not
from tests.distributed.kills import COMMAND, dataset, series
from tests.launch.cluster.small import VARIABLES

RECIPE = """
name: lost
model: {{layers: 2, hidden_size: 64, heads: 2}}
data: {{sequence_length: 32}}
train:
  steps: {steps}
  global_batch: 12
  micro_batch: 2
  learning_rate: 1.0e-3
  validate_every: {steps}
  validation_samples: 24
  checkpoint_every: 20
  log_every: 50
  step_timeout_seconds: 10
supervise: {{restarts: 3, backoff_seconds: 1}}
tracking: {{enabled: false, system_every: 0}}
"""
LOST = re.compile(r"past step (\d+) again, ([\d.]+) s lost")


@dataclass
class Result:
    """What came of it."""

    lost: list[tuple[int, float]]
    """After each failure, the step that was reached again and the seconds until then."""
    difference: float
    """Largest relative difference of a loss from the undisturbed run's."""
    without: str
    """What was said of the hosts that did not answer."""
    log: str


def prepare(folder: Path, source: Path, steps: int) -> None:
    """A recipe, what every host's environment has, and two work folders."""
    (folder / "lost.yaml").write_text(RECIPE.format(steps=steps))
    (folder / "environment").write_text("".join(f"{name}={value}\n" for name, value in VARIABLES.items()))
    for name in ("calm", "disturbed"):
        (folder / name).mkdir()
        (folder / name / "dataset").symlink_to(source)


def start(cluster: Cluster, folder: Path, name: str) -> subprocess.Popen[str]:
    """The command, on the login host."""
    command = [*COMMAND, str(folder / "lost.yaml"), "--work", str(folder / name)]
    return cluster.login.start(
        [*command, "--hostfile", str(cluster.hostfile())],
        VARIABLES | {"DS_ENV_FILE": str(folder / "environment")},
        stdout=(folder / f"{name}.log").open("w"),
        stderr=subprocess.STDOUT,
    )


def disturb(cluster: Cluster, folder: Path, host: int, steps: int) -> Result:
    """Train with a host's bad luck, and compare with the calm training."""
    process, log = start(cluster, folder, "disturbed"), folder / "disturbed.log"
    reached = folder / "disturbed" / "pretrain" / metrics.METRICS
    unlucky = cluster.hosts[host - 1]
    wait(lambda: metrics.newest_step(reached) >= steps // 4, process, log)
    unlucky.kill_processes()
    wait(lambda: len(LOST.findall(log.read_text())) == 1, process, log)
    cluster.cut(unlucky)
    wait(lambda: len(LOST.findall(log.read_text())) == 2, process, log)
    cluster.restore(unlucky)
    ended(process, log)
    pairs = zip(series(folder / "calm"), series(folder / "disturbed"), strict=True)
    said = log.read_text()
    without = re.findall(r"going on without .*", said)
    lost = [(int(step), float(seconds)) for step, seconds in LOST.findall(said)]
    return Result(lost, max(abs(ours[1] / calm[1] - 1) for calm, ours in pairs), " ".join(without), said)


def wait(
    condition: Callable[[], bool], process: subprocess.Popen[str], log: Path, seconds: float = 900.0
) -> None:
    """Until something is so while a process runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, f"nothing happened for {seconds} s:\n{log.read_text()}"
        time.sleep(0.02)


def ended(process: subprocess.Popen[str], log: Path) -> None:
    """Wait for a process that has to end well."""
    assert process.wait(timeout=900) == 0, log.read_text()


def main() -> int:
    """Do it and print the time that was lost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", type=int, default=3, choices=[1, 2, 3], help="the host that is unlucky")
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    if reason := why_not():
        print(f"not here: {reason}")
        return 0
    with tempfile.TemporaryDirectory() as name, hosts(3) as cluster:
        folder = Path(name)
        dataset(folder / "dataset")
        prepare(folder, folder / "dataset", options.steps)
        ended(start(cluster, folder, "calm"), folder / "calm.log")
        result = disturb(cluster, folder, options.host, options.steps)
    for what, (step, seconds) in zip(("processes killed", "link cut"), result.lost, strict=True):
        print(f"host{options.host}, {what}: {seconds:.1f} s lost until step {step} was passed again")
    print(result.without)
    print(f"largest relative difference of a loss from the undisturbed run: {result.difference:.1e}")
    return int(result.difference > 1e-4)


if __name__ == "__main__":
    sys.exit(main())
