"""What a library prints by itself, past Python: held back while it works, and dropped where it fails.

A library in Rust prints a panic, on some machines with its whole stack, before Python hears of it.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STDERR = 2


class _Aside:
    """Takes the place of the process's standard error; threads that need it at once share it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.file = self.real = -1
        self.failed = False

    def enter(self) -> None:
        """`OSError` where there is no standard error, or no file can be opened."""
        with self.lock:
            if not self.users:
                if self.file < 0:
                    self.file = os.memfd_create("stderr")
                self.real, self.failed = os.dup(STDERR), False
                os.dup2(self.file, STDERR)
            self.users += 1

    def leave(self, failed: bool) -> None:
        with self.lock:
            self.users, self.failed = self.users - 1, self.failed or failed
            if not self.users:
                self._restore()

    def _restore(self) -> None:
        os.dup2(self.real, STDERR)
        os.close(self.real)
        size = os.fstat(self.file).st_size
        if size:
            said = os.pread(self.file, size, 0)
            os.ftruncate(self.file, 0)
            os.lseek(self.file, 0, os.SEEK_SET)
            if not self.failed:
                os.write(STDERR, said)

    def forked(self) -> None:
        """A new process shares no file with its parent, and has none of its threads."""
        if self.users:
            os.dup2(self.real, STDERR)
        self.__init__()  # type: ignore[misc]


_ASIDE = _Aside()
os.register_at_fork(after_in_child=_ASIDE.forked)


@contextmanager
def held_back() -> Iterator[None]:
    """Within this, what is printed to standard error waits; it is dropped where an error leaves it."""
    try:
        _ASIDE.enter()
    except OSError:  # then nothing is held back
        yield
        return
    failed = True
    try:
        yield
        failed = False
    finally:
        with suppress(OSError):
            _ASIDE.leave(failed)
