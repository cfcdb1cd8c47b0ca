"""Where the time of a training step goes, by the modules that are at work.

Events at the start and the end of each module's forward and backward pass say how long the device was at it;
what lies between the last norm and the first gradient is the head and the loss. The steps that are timed so
are a little slower than without.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from torch import nn

from pipeline.models.attention import Attention
from pipeline.models.block import MLP, Block
from pipeline.models.norm import Norm
from pipeline.parallel.engine import Engine

KINDS: tuple[tuple[str, type[nn.Module]], ...] = (("attention", Attention), ("MLP", MLP), ("norms", Norm))


class Clock:
    """Moments on a device's time line."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"

    def now(self) -> Any:
        """This moment, after all that was asked of the device so far."""
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        """Seconds from one moment to another, once the device has passed both."""
        return start.elapsed_time(end) / 1000 if self.on_gpu else end - start


def communication(step: Callable[[], object]) -> float:
    """Seconds that a device spends in collectives in one step, side by side with other work or not."""
    with torch.profiler.profile() as profile:
        step()
    found = [event for event in profile.key_averages() if event.key.lower().startswith(("nccl", "gloo:"))]
    return sum(max(event.self_device_time_total, event.self_cpu_time_total) for event in found) / 1e6


class Parts:
    """A context in which the engine's steps are timed by part."""

    def __init__(self, engine: Engine, device: torch.device) -> None:
        self.engine, self.clock = engine, Clock(device)
        self.spans: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
        self.whole: tuple[Any, Any] | None = None
        self._open: dict[tuple[int, str], Any] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> "Parts":
        """Watch the engine."""
        for module in self.engine.engine.module.modules():
            for name, kind in KINDS:
                if isinstance(module, kind):
                    self._watch(module, name)
        blocks = [m for m in self.engine.engine.module.modules() if isinstance(m, Block)]
        last = blocks[-1]
        self._handles.append(last.register_forward_hook(lambda *_: self._start(0, "head and loss")))
        backward = last.mlp.register_full_backward_pre_hook(lambda *_: self._end(0, "head and loss"))
        self._handles.append(backward)
        self._step = self.engine.engine.step
        self.engine.engine.step = self._timed_step
        self._began = self.clock.now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching."""
        self.whole = (self._began, self.clock.now())
        self.engine.engine.step = self._step
        for handle in self._handles:
            handle.remove()
        if self.clock.on_gpu:
            torch.cuda.synchronize()

    def shares(self) -> dict[str, float]:
        """Each part's share of the step."""
        assert self.whole is not None
        total = self.clock.between(*self.whole)
        return {
            name: sum(self.clock.between(*span) for span in spans) / total
            for name, spans in self.spans.items()
        }

    def _watch(self, module: nn.Module, name: str) -> None:
        place = id(module)
        self._handles += [
            module.register_forward_pre_hook(lambda *_: self._start(place, name)),
            module.register_forward_hook(lambda *_: self._end(place, name)),
            module.register_full_backward_pre_hook(lambda *_: self._start(place, name)),
            module.register_full_backward_hook(lambda *_: self._end(place, name)),
        ]

    def _start(self, place: int, name: str) -> None:
        self._open[place, name] = self.clock.now()

    def _end(self, place: int, name: str) -> None:
        start = self._open.pop((place, name), None)
        if start is not None:
            self.spans[name].append((start, self.clock.now()))

    def _timed_step(self, *arguments: Any, **named: Any) -> Any:
        self._start(0, "optimizer")
        result = self._step(*arguments, **named)
        self._end(0, "optimizer")
        return result
