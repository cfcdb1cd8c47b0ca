"""A time limit for the work on one document, so that none can hold a preparation up.

Everything here takes time in proportion to a text's length; the limit is for what nobody thought of. It is
processor time, so that a busy machine rejects no document, and it grows with the text.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SECONDS = 10.0
SECONDS_PER_CHARACTER = 20e-6
"""About ten times what the slowest steps take on a slow core."""


class OverTimeError(Exception):
    """The work on a document took too long."""


@contextmanager
def limited(text: str) -> Iterator[None]:
    """Ends what is done inside with `OverTimeError` when the document has had its time. For the main
    thread."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise OverTimeError

    before = signal.signal(signal.SIGPROF, stop)
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS + SECONDS_PER_CHARACTER * len(text))
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
