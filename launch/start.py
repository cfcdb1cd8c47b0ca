"""Entry point of the `bloomery` command: Ctrl-C while it is still being loaded is no error, either."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""Exit status of a command that was ended by Ctrl-C and has nothing to save."""


def main() -> None:
    """Load the command and run it."""
    with interruptible():
        from launch.cli import main as command

        command()


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C becomes one sentence and a status."""
    try:
        yield
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
