"""Starting and leaving the distributed world: processes, their ranks, and Megatron-core's groups.

Ranks are ordered as DeepSpeed and Megatron-core both have it: tensor fastest, then data, then pipeline.
"""

import os
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace

import torch
import torch.distributed as dist
from megatron.core import parallel_state

from pipeline.config import ParallelConfig
from pipeline.distributed import randomness
from pipeline.distributed.meeting import on_loopback


@dataclass(frozen=True)
class World:
    """Where this process stands."""

    rank: int
    size: int
    device: torch.device
    tensor_rank: int
    tensor_size: int
    pipeline_rank: int
    pipeline_size: int
    data_rank: int
    data_size: int

    @property
    def is_main(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    @property
    def layout(self) -> dict[str, int]:
        """The parallel sizes, as checkpoints tell them."""
        return {"tensor": self.tensor_size, "pipeline": self.pipeline_size, "data": self.data_size}


def start(parallel: ParallelConfig, seed: int, timeout_minutes: float = 30.0) -> World:
    """Join the world that the launcher described in the environment.

    Raises `ValueError` where the parallel sizes do not multiply to the number of processes.
    """
    os.environ["LOCAL_SIZE"] = (
        "0"  # keeps DeepSpeed's shared-memory all-reduce, which leaks 66 MiB a run, away
    )
    import deepspeed

    size = int(os.environ.get("WORLD_SIZE", "1"))
    parallel.data_size(size)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    with on_loopback():
        deepspeed.init_distributed(
            dist_backend="nccl" if torch.cuda.is_available() else "gloo",
            timeout=timedelta(minutes=timeout_minutes),
            verbose=False,
        )
    return _join_groups(parallel, seed)


def start_alone(seed: int = 0) -> World:
    """A world of this process alone, with no launcher and no open port: to evaluate, generate and export."""
    if not dist.is_initialized():
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    return _join_groups(ParallelConfig(), seed)


def _join_groups(parallel: ParallelConfig, seed: int) -> World:
    if not parallel_state.model_parallel_is_initialized():
        parallel_state.initialize_model_parallel(
            tensor_model_parallel_size=parallel.tensor,
            pipeline_model_parallel_size=parallel.pipeline,
            expert_model_parallel_size=parallel.experts,
            create_gloo_process_groups=False,
        )
    world = World(
        rank=dist.get_rank(),
        size=dist.get_world_size(),
        device=_device(),
        tensor_rank=parallel_state.get_tensor_model_parallel_rank(),
        tensor_size=parallel_state.get_tensor_model_parallel_world_size(),
        pipeline_rank=parallel_state.get_pipeline_model_parallel_rank(),
        pipeline_size=parallel_state.get_pipeline_model_parallel_world_size(),
        data_rank=parallel_state.get_data_parallel_rank(),
        data_size=parallel_state.get_data_parallel_world_size(),
    )
    randomness.install(seed, world.tensor_rank, world.data_rank, world.pipeline_rank)
    return world


def _device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def stop() -> None:
    """Leave the world in order."""
    if dist.is_initialized():
        parallel_state.destroy_model_parallel()
        dist.destroy_process_group()


def model_parallel_unit() -> SimpleNamespace:
    """Megatron-core's groups under the names that a DeepSpeed engine asks for.

    DeepSpeed probes with `hasattr`, so only what is meant to be found is there.
    """
    tensor = {
        "get_model_parallel_world_size": parallel_state.get_tensor_model_parallel_world_size,
        "get_model_parallel_rank": parallel_state.get_tensor_model_parallel_rank,
        "get_model_parallel_group": parallel_state.get_tensor_model_parallel_group,
    }
    named = [
        f"get_{kind}_parallel_{what}"
        for kind in ("tensor_model", "data")
        for what in ("world_size", "rank", "group")
    ]
    return SimpleNamespace(**tensor, **{name: getattr(parallel_state, name) for name in named})
