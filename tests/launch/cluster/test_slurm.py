"""The Slurm script's own commands, with stand-ins for Slurm's that start both "nodes" on this machine."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.launch.cluster import small

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "launch" / "cluster" / "slurm.sbatch"
SCONTROL = """#!/bin/sh
case "$*" in
  "show hostnames node[1-2]") printf 'node1\\nnode2\\n' ;;
  requeue*) echo "queued again: $2" ;;
  *) exit 9 ;;
esac
"""
SRUN = """#!/usr/bin/env bash
[ "$1" = --kill-on-bad-exit=1 ] && shift || exit 9
export MAIN_HOST=127.0.0.1 # node1 has no address here
SLURM_NODEID=0 "$@" & SLURM_NODEID=1 "$@"
status=$?
wait $! && exit $status
"""


def submit(folder: Path, srun: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script as Slurm would, on two nodes of one GPU, with this stand-in for srun."""
    for name, text in {"scontrol": SCONTROL, "srun": srun}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    path = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_GPUS_ON_NODE": "1"}
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments],
        env={**os.environ, **small.VARIABLES, **given, **variables, "PATH": path},
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=900,
        check=False,
    )


def test_two_nodes(tmp_path: Path, tiny_dataset: Path) -> None:
    recipe = small.recipe(tmp_path, tiny_dataset)
    arguments = [str(recipe), "--work", str(tmp_path / "work"), "--set", "parallel.pipeline=2"]
    done = submit(tmp_path, SRUN, *arguments, SLURM_JOB_END_TIME=str(int(time.time()) + 3600))
    assert done.returncode == 0, done.stdout
    assert "queued again" not in done.stdout
    small.train_alone(tmp_path)
    small.assert_same(tmp_path)
    assert not (ROOT / f".hosts-{os.getpid()}").exists(), "the hostfile of the job is gone"


@pytest.mark.parametrize(
    ("status", "restarts", "again"),
    [(75, 99, True), (1, 0, True), (137, 19, True), (1, 20, False), (2, 0, False), (0, 0, False)],
)
def test_what_is_queued_again(tmp_path: Path, status: int, restarts: int, again: bool) -> None:
    srun = f'#!/bin/sh\necho told "$@" | tail -n 1\nexit {status}\n'
    ends = str(int(time.time()) + 30 * 60 + 20)
    done = submit(tmp_path, srun, "recipe", SLURM_RESTART_COUNT=str(restarts), SLURM_JOB_END_TIME=ends)
    assert done.returncode == status
    assert "--max-minutes 20" in done.stdout, "ten minutes are left to save"
    assert ("queued again" in done.stdout) == again


def test_what_slurm_reads() -> None:
    lines = [line.split()[1] for line in SCRIPT.read_text().splitlines() if line.startswith("#SBATCH")]
    options = dict(line.removeprefix("--").split("=") for line in lines if "=" in line)
    assert options["ntasks-per-node"] == "1", "DeepSpeed's launcher starts the ranks of a node"
    assert "--requeue" in lines
