"""Real worlds for tests: n processes over gloo, forked from a server that has everything imported."""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.distributed.preload"])
ENVIRONMENT = {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
os.environ.update(ENVIRONMENT)


def run_world(size: int, function: Callable[..., Any], *arguments: Any, seconds: float = 900.0) -> list[Any]:
    """Call `function(*arguments)` in `size` processes of one world; returns what each returned, by rank.

    A rank that raises fails the test with its traceback; ranks still there after `seconds` are ended.
    """
    port = free_port()
    pipes = [CONTEXT.Pipe(duplex=False) for _ in range(size)]
    ranks = [
        CONTEXT.Process(
            target=_rank, args=(rank, size, port, function, arguments, pipes[rank][1]), daemon=True
        )
        for rank in range(size)
    ]
    for process in ranks:
        process.start()
    try:
        return [_receive(pipe[0], rank, seconds) for rank, pipe in enumerate(pipes)]
    finally:
        for process in ranks:
            process.join(60)
            if process.is_alive():
                process.kill()


def start_world(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Start `function(*arguments)` in `size` processes of one world, which may end in any way."""
    port = free_port()
    ranks = [
        CONTEXT.Process(target=_call, args=(rank, size, port, function, arguments), daemon=True)
        for rank in range(size)
    ]
    for process in ranks:
        process.start()
    return ranks


def leave_groups(layout: bool = True) -> None:
    """Leave the groups of an engine, and those of its layout unless told, between two trainings of one world.

    Over gloo each has a thread that wakes a hundred times a second, and a pipelined engine makes 23 of them:
    after twenty engines a world of two would do little else.
    """
    import torch.distributed as dist
    from deepspeed.utils import groups
    from megatron.core import parallel_state

    dist.barrier()
    kept = {dist.group.WORLD}
    if layout:
        parallel_state.destroy_model_parallel()
    else:
        kept |= {one for one in vars(parallel_state).values() if isinstance(one, dist.ProcessGroup)}
    groups._WORLD_GROUP = None
    for group in list(dist.distributed_c10d._world.pg_map):
        if group not in kept:
            dist.destroy_process_group(group)


def free_port() -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _receive(pipe: Connection, rank: int, seconds: float) -> Any:
    if not pipe.poll(seconds):
        pytest.fail(f"rank {rank} said nothing for {seconds} s")
    problem, result = pipe.recv()
    if problem:
        pytest.fail(f"rank {rank}:\n{problem}")
    return result


def _rank(
    rank: int,
    size: int,
    port: int,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    pipe: Connection,
) -> None:
    try:
        pipe.send((None, _call(rank, size, port, function, arguments)))
    except BaseException:
        pipe.send((traceback.format_exc(), None))
        raise
    finally:
        pipe.close()


def _call(rank: int, size: int, port: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in place.items()}})
    return function(*arguments)
