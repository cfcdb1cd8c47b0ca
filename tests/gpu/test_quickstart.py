"""The main job on a GPU, whole."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.skipif(find_spec("ray") is None, reason="the quickstart prepares data, which needs Ray"),
]
ROOT = Path(__file__).parents[2]


def test_the_quickstart_runs_whole_and_learns(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from launch.cli import main; main()", "run"]
    command += ["launch/recipes/quickstart.yaml", "--work", str(tmp_path / "work"), "--json"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (tmp_path / "work/pretrain/metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    losses = [step["loss"] for step in steps if "loss" in step]
    assert losses[-1] < losses[0] - 1
    assert (tmp_path / "work/report.html").is_file()
