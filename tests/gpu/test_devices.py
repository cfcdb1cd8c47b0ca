"""A checkpoint written on the CPU is read on the GPU, and one from there on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
CPU = {"CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}


def going_on(folder: Path, device: str, *options: str) -> list[float]:
    """What a process of its own sees on that device."""
    command = [sys.executable, "-m", "tests.gpu.going_on", str(folder), *options]
    environment = {name: value for name, value in os.environ.items() if name not in CPU}
    environment |= CPU if device == "cpu" else {}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return [float(value) for value in json.loads(done.stdout.splitlines()[-1])]


@pytest.mark.parametrize(("writes", "reads"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_run_goes_on_on_the_other_device(writes: str, reads: str, tmp_path: Path) -> None:
    """Float32 on either side; kernels of another device add in another order, over six Adam steps."""
    whole = going_on(tmp_path / "whole", writes)
    first = going_on(tmp_path / "run", writes, "--save-at", "3", "--steps", "6")
    assert first == whole
    later = going_on(tmp_path / "run", reads, "--from", "--steps", "6")
    np.testing.assert_allclose(later[0::2], whole[6::2], rtol=1e-3)
    np.testing.assert_allclose(later[1::2], whole[7::2], rtol=1e-2)
