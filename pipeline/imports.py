"""Imports of DeepSpeed and Megatron-core that no process here needs, and that cost each of them seconds.

DeepSpeed's autotuner loads MLflow, pandas and tabulate, and is never started here. DeepSpeed's Muon and
Megatron-core give functions to `torch.compile` while they are imported, which loads Dynamo and Inductor:
Muon is `pipeline.optim.muon` here, and Megatron-core's functions are compiled when they are first called.
Importing `pipeline` puts this in place, whatever is imported afterwards.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def compile_later(function: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.compile(function)`, done at the first call."""

    @functools.cache
    def compiled() -> Callable[..., Any]:
        import torch

        return torch.compile(function)

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        return compiled()(*arguments, **options)

    return call


class NoOptimizer:
    """A type that no optimizer is of, for DeepSpeed to ask about."""


STANDING_IN: dict[str, dict[str, object]] = {
    "deepspeed.autotuning.autotuner": {"Autotuner": None},
    "deepspeed.runtime.zero.muon.original_muon": {
        "MuonWithAuxAdam": NoOptimizer,
        "adam_update": None,
        "muon_update": None,
    },
    "megatron.core.jit": {"jit_fuser": compile_later},
}
"""What stands in for a module: its names."""


class StandIns(MetaPathFinder, Loader):
    """Finds and makes the modules of `STANDING_IN`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for the modules that something stands in for."""
        return ModuleSpec(fullname, self) if fullname in STANDING_IN else None

    def exec_module(self, module: ModuleType) -> None:
        """Give a module its names."""
        vars(module).update(STANDING_IN[module.__name__])


def install() -> None:
    """Put the stand-ins before what is installed, once."""
    if not any(isinstance(finder, StandIns) for finder in sys.meta_path):
        sys.meta_path.insert(0, StandIns())
