"""Activations that are computed again in the backward pass instead of being kept (Chen et al., 2016)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch.utils.checkpoint import checkpoint

from pipeline.distributed import randomness


def recomputed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose inputs alone are kept; dropout draws the same numbers the second time."""

    def call(*arguments: Any) -> Any:
        return checkpoint(function, *arguments, use_reentrant=False, context_fn=_contexts)

    return call


def _contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _again(randomness.tracked())


@contextmanager
def _again(states: dict[str, Any]) -> Iterator[None]:
    now = randomness.tracked()
    randomness.set_tracked(states)
    try:
        yield
    finally:
        randomness.set_tracked(now)
