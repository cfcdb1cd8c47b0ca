"""Several processes that hold one model each and answer their share of what is asked: data parallel.

Each worker loads the run by itself, on a GPU of its own where there are several, and is sent functions with
their items; no process group and no port is needed. What comes back is in the order in which it was asked,
and the same as of one process. Workers end with the process that has started them.
"""

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from data_prep.contract.settings import InputError
from pipeline.evaluation.scoring import LanguageModel

Item = TypeVar("Item")
Found = TypeVar("Found")
Function = Callable[[LanguageModel, Sequence[Item]], Sequence[Found]]
"""What is done with some items: one that another process can import, with its arguments bound."""


class Workers:
    """A model in this process, and the same run in others."""

    def __init__(self, model: LanguageModel, run: Path | None = None, processes: int = 1) -> None:
        """`processes` counts this one; those beside it load `run`."""
        self.model = model
        self._started: list[tuple[BaseProcess, Connection]] = []
        context = multiprocessing.get_context("spawn")
        for rank in range(1, processes):
            assert run is not None
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(run, rank, there), daemon=True)
            process.start()
            there.close()
            self._started.append((process, here))

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, pipe in self._started:
            pipe.close()
            if error is not None:
                process.terminate()
            process.join()

    def map(self, function: Function[Item, Found], items: Sequence[Item]) -> list[Found]:
        """What a function makes of all items, in their order; every process has each so manieth of them."""
        size = 1 + len(self._started)
        shares = [items[rank::size] for rank in range(size)]
        for (_, pipe), share in zip(self._started, shares[1:], strict=True):
            if share:
                self._told(pipe, (function, share))
        made: list[Sequence[Found]] = [function(self.model, shares[0]) if shares[0] else []]
        for (process, pipe), share in zip(self._started, shares[1:], strict=True):
            made.append(self._heard(process, pipe) if share else [])
        return [made[index % size][index // size] for index in range(len(items))]

    def _told(self, pipe: Connection, work: Any) -> None:
        try:
            pipe.send(work)
        except (BrokenPipeError, ConnectionError):
            return  # what has become of the process is said where its answer is waited for

    def _heard(self, process: BaseProcess, pipe: Connection) -> Any:
        try:
            found, wrong = pipe.recv()
        except (EOFError, ConnectionError):
            process.join()
            raise InputError(
                f"a process that was asked has ended (exit status {process.exitcode}); "
                "with fewer eval.processes each has more memory"
            ) from None
        if isinstance(wrong, InputError):
            raise wrong
        if wrong is not None:
            raise RuntimeError(f"a process that was asked has failed:\n{wrong}")
        return found


def _work(run: Path, rank: int, pipe: Connection) -> None:
    """A worker: answers until the process that has started it goes away."""
    import torch

    from pipeline.generation.load import load_model

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the process that it ends with
    if torch.cuda.is_available():
        torch.cuda.set_device(rank % torch.cuda.device_count())
    model: LanguageModel | None = None
    while True:
        try:
            function, share = pipe.recv()
        except (EOFError, ConnectionError):
            return
        answer: tuple[Any, InputError | str | None]
        try:
            model = model or load_model(run)
            answer = function(model, share), None
        except InputError as error:
            answer = None, error
        except Exception:  # it is told where it was asked for
            answer = None, traceback.format_exc()
        try:
            pipe.send(answer)
        except (BrokenPipeError, ConnectionError):
            return


def processes(wanted: int | None) -> int:
    """How many processes ask a model: as many as are wanted, or one for each GPU of this machine."""
    import torch

    return wanted or max(1, torch.cuda.device_count())
