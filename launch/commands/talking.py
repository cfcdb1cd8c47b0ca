"""Commands that talk with a model: chat, serve."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from data_prep.contract.settings import InputError
from launch.console import Average, Json, app, print_line, reporting

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run or its checkpoints/step-N.")]


@app.command(epilog="Example: bloomery chat runs/quickstart/tune")
def chat(
    run: Run,
    system: Annotated[str, typer.Option(metavar="TEXT", help="What is said before the conversation.")] = "",
    tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="Draw from the k likeliest tokens; 0 from all.")] = 0,
    top_p: Annotated[float, typer.Option(min=0.01, max=1.0, help="Draw from this much probability.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds draw equal answers.")] = 0,
    average: Average = False,
    as_json: Json = False,
) -> None:
    """A conversation with a model in the terminal; /help lists what can be done in it."""
    with reporting(as_json) as result:
        from rich.console import Console

        from launch.chat import Talk, converse, reader
        from launch.serving.served import open_served
        from pipeline.generation.sampling import Sampling

        served = open_served(run, None, average)
        talk = Talk(served, Sampling(temperature, top_k, top_p, seed), tokens, system)
        console = Console()
        if sys.stdin.isatty():
            does = "answers; /help says what else" if served.tuned else "was not tuned: it goes on with texts"
            console.print(f"{served.name} {does}", style="dim", markup=False, highlight=False)
        converse(talk, console, reader(console))
        result |= talk.row()


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
