"""What a training does not load, and that what stands in for it does what it says."""

import subprocess
import sys

import pytest
import torch
from megatron.core import activations

from pipeline.imports import compile_later

HEAVY = ("mlflow", "pandas", "tabulate", "torch._inductor", "deepspeed.autotuning.tuner", "transformers")
PROGRAM = f"""
import sys
import pipeline.training.run
import deepspeed.runtime.zero.muon.muon_optimizer
print(*[name for name in {HEAVY} if name in sys.modules])
"""


def test_a_training_loads_no_autotuner_and_no_compiler() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1].split() == []


def test_a_function_is_compiled_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []

    def record(function: object) -> object:
        compiled.append(function)
        return function

    monkeypatch.setattr(torch, "compile", record)

    def double(value: int) -> int:
        return 2 * value

    later = compile_later(double)
    assert compiled == []
    assert [later(1), later(2)] == [2, 4]
    assert compiled == [double]


def test_megatrons_functions_are_compiled_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: lambda value: function(value) + 1.0)
    assert activations.squared_relu(torch.tensor([-1.0, 3.0])).tolist() == [1.0, 10.0]
