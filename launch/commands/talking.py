"""Commands that talk with a model: chat, serve."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from data_prep.contract.settings import InputError
from launch.console import Average, Json, app, print_line, reporting

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run or its checkpoints/step-N.")]


@app.command(epilog="Example: bloomery serve runs/quickstart/tune")
def serve(
    run: Run,
    host: Annotated[
        str, typer.Option(help="The address to listen on; one of other machines' needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes one that is free.")] = 8000,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Holds the key that clients send; or BLOOMERY_SERVE_KEY is it."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What clients call the model; work folder and run where left out.")
    ] = None,
    slots: Annotated[int, typer.Option(min=1, max=1024, help="Answers that are made at once.")] = 16,
    queue: Annotated[int, typer.Option(min=0, max=100_000, help="Answers that wait; more get a 429.")] = 64,
    tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 1024,
    seconds: Annotated[float, typer.Option(min=1.0, help="An answer takes no longer.")] = 300.0,
    grace: Annotated[
        float, typer.Option(min=0.0, help="Seconds that answers have to end in after Ctrl-C or SIGTERM.")
    ] = 10.0,
    feedback: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where votes go; `feedback` in the work folder if left out."),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open a browser where there is one.")
    ] = True,
    average: Average = False,
    as_json: Json = False,
) -> None:
    """A page to talk with a model and an API like OpenAI's, on this machine unless told."""
    with reporting(as_json=False):
        try:
            from launch.serving.server import Settings, serve
        except ModuleNotFoundError as error:
            if error.name not in ("starlette", "uvicorn"):
                raise
            raise InputError("a server needs the extra serve; pip install 'bloomery[serve]'") from None
        from launch.serving.limits import Limits

        def ready(address: str) -> None:
            print_line(json.dumps({"page": address, "api": f"{address}/v1"}) if as_json else address)

        limits = Limits(slots, queue, tokens, seconds)
        settings = Settings(host, port, key_file, name, feedback, average, browser, grace, limits)
        serve(run, settings, ready, lambda line: print(line, file=sys.stderr))
