"""The Slurm script's own commands, with stand-ins for Slurm's that start both "nodes" on this machine."""

import os
import subprocess
import sys
from pathlib import Path

from tests.launch.cluster import small

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "launch" / "cluster" / "slurm.sbatch"
SCONTROL = """#!/bin/sh
[ "$*" = "show hostnames node[1-2]" ] && printf 'node1\\nnode2\\n'
"""
SRUN = """#!/usr/bin/env bash
[ "$1" = --kill-on-bad-exit=1 ] && shift || exit 9
export MAIN_HOST=127.0.0.1 # node1 has no address here
SLURM_NODEID=0 "$@" & SLURM_NODEID=1 "$@"
status=$?
wait $! && exit $status
"""


def test_two_nodes(tmp_path: Path, tiny_dataset: Path) -> None:
    recipe = small.recipe(tmp_path, tiny_dataset)
    for name, text in {"scontrol": SCONTROL, "srun": SRUN}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_GPUS_ON_NODE": "1"}
    command = ["bash", str(SCRIPT), str(recipe), "--work", str(tmp_path / "work")]
    done = subprocess.run(
        [*command, "--set", "parallel.pipeline=2"],
        env={**os.environ, **small.VARIABLES, **given, "PATH": path},
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    small.train_alone(tmp_path)
    small.assert_same(tmp_path)
    assert not list(ROOT.glob(".hosts-*"))


def test_what_slurm_reads() -> None:
    lines = [line.split()[1] for line in SCRIPT.read_text().splitlines() if line.startswith("#SBATCH")]
    options = dict(line.removeprefix("--").split("=") for line in lines if "=" in line)
    assert options["ntasks-per-node"] == "1", "DeepSpeed's launcher starts the ranks of a node"
    assert {"nodes", "gpus-per-node", "signal"} <= set(options)
