"""Being asked to save and leave: by SIGTERM, by a time limit, or by whoever supervises the job.

A rank that was asked says so in the `agreement` at the end of its step, and all ranks save and leave after
that very step. The exit status `RESUME` (EX_TEMPFAIL of sysexits.h) then means: the same command goes on.
"""

import os
import signal
import threading
import time
from types import FrameType

import psutil

RESUME = 75


class StopRequest:
    """Whether this process was asked to save and leave."""

    def __init__(self, minutes: float | None = None) -> None:
        """`minutes` from now on this process asks itself."""
        self._asked = threading.Event()
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes

    def ask(self) -> None:
        """Ask; callable from any thread and from a signal's handler."""
        self._asked.set()

    @property
    def asked(self) -> bool:
        """Whether somebody has asked or the time is up."""
        return self._asked.is_set() or (self._deadline is not None and time.monotonic() > self._deadline)

    def listen(self, siblings: int) -> None:
        """Let SIGTERM ask from now on, in a process that is one of so many under one launcher.

        DeepSpeed's launcher sends SIGTERM too when a rank has died. The others could only wait for it then,
        so this process ends at once where a sibling is gone.
        """

        def heard(number: int, frame: FrameType | None) -> None:
            if len(psutil.Process(os.getppid()).children()) < siblings:
                os._exit(128 + number)
            self.ask()

        signal.signal(signal.SIGTERM, heard)

    def leave(self) -> None:
        """Everything is saved: a launcher that ends the ranks one after another is not to disturb that."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
