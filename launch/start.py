"""Entry point of the `bloomery` command: Ctrl-C while it is still being loaded is no error, either."""

import sys


def main() -> None:
    """Load the command and run it."""
    try:
        from launch.cli import main as command

        command()
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        raise SystemExit(130) from None
