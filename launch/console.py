"""What all commands of `bloomery` have in common: the application, their options, how they print and fail.

Only what `--help` needs is imported at the top: torch, Ray and MLflow wait for the command that uses them.
"""

import errno
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from data_prep.contract.names import one_line, printable
from data_prep.contract.settings import InputError
from launch.start import interruptible

app = typer.Typer(
    help="From raw documents to a pretrained, tuned and measured language model, with one recipe.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

WRONG_PLACE = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENXIO,
)
"""What a machine says of a path that is wrong: bad input."""
NO_ROOM = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EMFILE,
    errno.ENFILE,
    errno.EAGAIN,
    errno.ENOMEM,
)
"""What a machine says that is no fault of the command: with more room the same one goes on."""
RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe's YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as train.steps=200."),
]
Work = Annotated[
    str | None,
    typer.Option(
        "--work",
        help="Work folder; runs/NAME where left out. With s3://... the dataset lies at that address.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
Average = Annotated[
    bool, typer.Option("--average", help="Take the moving average of the weights (train.average).")
]
Resume = Annotated[bool, typer.Option("--resume", help="Refuse to start from nothing.")]
Minutes = Annotated[
    float | None,
    typer.Option(
        "--max-minutes", min=0.0, help="Save after so long and leave with status 75: to go on later."
    ),
]
Hostfile = Annotated[
    Path | None, typer.Option("--hostfile", help="DeepSpeed's hostfile; this machine where left out.")
]


def print_part(part: str) -> None:
    """A part of a line, at once; nothing in it moves the terminal's cursor."""
    print(printable(part), end="", flush=True)


def print_line(line: str) -> None:
    """Tell the user something, at once; nothing in it moves the terminal's cursor."""
    print(printable(line), flush=True)


@contextmanager
def reporting(as_json: bool) -> Iterator[dict[str, Any]]:
    """Errors of the user's become one sentence and status 2; with --json the result ends stdout."""
    with interruptible():  # what follows takes a while to load
        from launch.runner import TrainingFailedError
        from pipeline.health.stopping import RESUME

        result: dict[str, Any] = {}
        try:
            yield result
        except InputError as error:
            print(f"error: {one_line(str(error))}", file=sys.stderr)
            raise SystemExit(2) from None
        except OSError as error:
            if error.errno not in (*WRONG_PLACE, *NO_ROOM):
                raise
            place = f"{error.filename}: " if error.filename else ""
            print(f"error: {one_line(place)}{error.strerror}", file=sys.stderr)
            raise SystemExit(2 if error.errno in WRONG_PLACE else 1) from None
        except TrainingFailedError as error:
            if error.status not in (2, RESUME):  # with these, what there is to say has been said
                print(f"error: {error}", file=sys.stderr)
            raise SystemExit(error.status if error.status > 0 else 1) from None
        if as_json:
            print(json.dumps(result))
