"""Regular expressions of task files: programs that somebody else wrote, which may take for ever.

`(a+)+b` tries every way to cut a row of a's. One that takes longer than `SECONDS` of this process's time is
stopped by a timer, whose signal Python's engine looks for as it matches. For the main thread alone, as every
evaluation is.
"""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from data_prep.contract.settings import InputError

SECONDS = 2.0
"""Processor time of one pattern on one text; the longest answers take milliseconds."""


class _TooLongError(Exception):
    """The timer's."""


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of a task. `InputError` where it is no regular expression."""
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"{pattern!r} is no regular expression ({error})") from None


def matches(pattern: str, text: str) -> list[re.Match[str]]:
    """Every match, in order. `InputError` where that takes too long."""
    with _bounded(pattern, text):
        return list(compiled(pattern).finditer(text))


def replaced(pattern: str, new: str, text: str, count: int = 0) -> str:
    """The text with `new` for what matches, or for the first `count` of it. `InputError` as above."""
    with _bounded(pattern, text):
        return compiled(pattern).sub(new, text, count=count)


@contextmanager
def _bounded(pattern: str, text: str) -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    except _TooLongError:
        raise InputError(
            f"the pattern {pattern!r} takes more than {SECONDS:.0f} s on a text of {len(text):,} characters; "
            "write it without repetitions within repetitions"
        ) from None
    except re.error as error:
        raise InputError(f"the pattern {pattern!r} cannot be replaced ({error})") from None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
