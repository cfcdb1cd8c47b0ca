"""Accidents that happen to a run on one machine, each made to happen: what is said, the status, what is left.

    python -m tests.launch.accidents [NAME ...]

Each accident has a work folder of its own with a dataset of made-up sentences, a small model, and the command
that a user would type. Some need the right to mount a file system, to make a control group or to be another
user (root), one a C compiler; where it is missing, the accident is skipped and says why. Exits with 1 where
one ends otherwise than it should.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.launch.accidents import machine, people
from tests.launch.accidents.made import MissingError, Run, fresh

ACCIDENTS: tuple[Callable[[Run], str], ...] = (
    machine.killed_for_memory,
    machine.little_shared_memory,
    machine.clock_set_back,
    machine.disk_full_in_evaluation,
    machine.port_taken,
    machine.another_user,
    machine.few_file_handles,
    people.two_commands,
    people.ctrl_c_in_training,
    people.ctrl_c_in_evaluation,
    people.database_locked,
    people.database_of_another_schema,
)


def main() -> None:
    known = {accident.__name__: accident for accident in ACCIDENTS}
    parser = argparse.ArgumentParser(description="accidents, each made to happen")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    chosen = parser.parse_args().names or list(known)
    failed = 0
    for name in chosen:
        if name not in known:
            parser.error(f"no accident is called {name!r}; there are {', '.join(known)}")
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
            Path(temporary).chmod(0o755)
            began = time.monotonic()
            try:
                result = known[name](Run(fresh(Path(temporary) / "place")))
            except MissingError as reason:
                result = f"skipped: {reason}"
            except AssertionError as wrong:
                result, failed = f"WRONG: {wrong}", failed + 1
            print(f"{name:28} {time.monotonic() - began:4.0f} s  {result}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
