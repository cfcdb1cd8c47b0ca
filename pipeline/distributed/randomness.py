"""Random states: Python's, numpy's and torch's, and Megatron-core's tracker for dropout.

On CPUs a tracker of the same form takes the place of Megatron-core's.

Outside a `fork` tensor-parallel ranks draw the same numbers, because they hold copies of the same
activations; inside one they draw different numbers, because they hold different heads.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from megatron.core.tensor_parallel import random as megatron_random

_TENSOR_PARALLEL = "model-parallel-rng"


class CpuRngTracker(megatron_random.CudaRNGStatesTracker):
    """Megatron-core's tracker over the CPU generator."""

    def add(self, name: str, seed: int) -> None:
        """Start the named state from a seed."""
        before = torch.get_rng_state()
        torch.manual_seed(seed)
        self._is_initialized = True
        self.states_[name] = torch.get_rng_state()
        torch.set_rng_state(before)

    @contextmanager
    def fork(self, name: str = _TENSOR_PARALLEL) -> Iterator[None]:
        """Draw from the named state, then go back to the one before."""
        before = torch.get_rng_state()
        torch.set_rng_state(self.states_[name])
        try:
            yield
        finally:
            self.states_[name] = torch.get_rng_state()
            torch.set_rng_state(before)


def install(seed: int, tensor_rank: int, data_rank: int, pipeline_rank: int) -> None:
    """Seed this process; data-parallel ranks and pipeline stages draw different numbers."""
    base = seed + 1009 * data_rank + 1_000_003 * pipeline_rank
    random.seed(base)
    np.random.seed(base % 2**32)
    if torch.cuda.is_available():
        torch.manual_seed(base)
        megatron_random.model_parallel_cuda_manual_seed(base, tp_rank=tensor_rank, ep_rank=0, etp_rank=0)
        return
    # Megatron-core asks for the current CUDA device where it allocates buffers of its own.
    torch.cuda.current_device = lambda: torch.device("cpu")
    tracker = CpuRngTracker()
    tracker.add(_TENSOR_PARALLEL, base + 2718 + tensor_rank)
    megatron_random._CUDA_RNG_STATE_TRACKER = tracker
    megatron_random._CUDA_RNG_STATE_TRACKER_INITIALIZED = True
    torch.manual_seed(base)


def tensor_parallel_fork() -> megatron_random.CudaRNGStatesTracker:
    """The context in which tensor-parallel ranks draw different numbers."""
    return megatron_random.get_cuda_rng_tracker().fork()


def tracked() -> dict[str, torch.Tensor]:
    """The tracker's states by name, copied."""
    return {
        name: state.clone() for name, state in megatron_random.get_cuda_rng_tracker().get_states().items()
    }


def set_tracked(states: dict[str, torch.Tensor]) -> None:
    """Undo `tracked`."""
    megatron_random.get_cuda_rng_tracker().set_states(states)


def states() -> dict[str, torch.Tensor]:
    """Every random state of this process by name, as tensors on the CPU."""
    found = {"cpu": torch.get_rng_state(), **_python_state(), **_numpy_state()}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state()
    return found | {f"tracker.{name}": state for name, state in tracked().items()}


def restore(saved: dict[str, torch.Tensor]) -> None:
    """Undo `states`."""
    torch.set_rng_state(saved["cpu"])
    gauss = saved["python.gauss"].tolist()
    random.setstate((3, tuple(saved["python"].tolist()), gauss[0] if gauss else None))
    position, has_gauss = saved["numpy.position"].tolist()
    keys = saved["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, position, has_gauss, float(saved["numpy.gauss"])))
    if torch.cuda.is_available() and "cuda" in saved:
        torch.cuda.set_rng_state(saved["cuda"])
    prefix = "tracker."
    set_tracked({name[len(prefix) :]: state for name, state in saved.items() if name.startswith(prefix)})


def _python_state() -> dict[str, torch.Tensor]:
    version, words, gauss = random.getstate()
    assert version == 3
    waiting = [] if gauss is None else [gauss]
    return {"python": torch.tensor(words), "python.gauss": torch.tensor(waiting, dtype=torch.float64)}


def _numpy_state() -> dict[str, torch.Tensor]:
    state = np.random.get_state(legacy=False)
    words, position = state["state"]["key"], state["state"]["pos"]
    return {
        "numpy": torch.from_numpy(words.astype(np.int64)),
        "numpy.position": torch.tensor([position, state["has_gauss"]]),
        "numpy.gauss": torch.tensor(state["gauss"], dtype=torch.float64),
    }
