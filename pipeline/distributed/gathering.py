"""Objects that ranks tell one another, and errors that one rank meets and all raise.

Every function here is called by all ranks together.
"""

from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist

from data_prep.contract.settings import InputError

T = TypeVar("T")


def gathered(mine: T) -> list[T]:
    """What every rank has, in the order of the ranks."""
    found: list[T] = [mine] * dist.get_world_size()
    dist.all_gather_object(found, mine)
    return found


def from_main(mine: T) -> T:
    """What the first rank has."""
    told = [mine]
    dist.broadcast_object_list(told)
    return told[0]


def together(action: Callable[[], T]) -> T:
    """Do something on every rank; an `InputError` on one of them is raised on all, so that none waits."""
    result: T | None = None
    problem: str | None = None
    try:
        result = action()
    except InputError as error:
        problem = str(error)
    for one in gathered(problem):
        if one:
            raise InputError(one)
    return result  # type: ignore[return-value]
