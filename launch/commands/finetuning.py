"""Commands that make models for tasks and ask them: finetune, predict."""

from pathlib import Path
from typing import Annotated

import typer

from launch.commands.stages import one_kind
from launch.console import (
    Average,
    Hostfile,
    Json,
    Minutes,
    Overrides,
    RecipePath,
    Resume,
    Work,
    app,
    print_line,
    reporting,
)


@app.command(epilog="Example: bloomery finetune launch/recipes/finetune.yaml --work runs/finetune")
def finetune(
    recipe: RecipePath,
    sets: Overrides = None,
    work: Work = None,
    resume: Resume = False,
    max_minutes: Minutes = None,
    hostfile: Hostfile = None,
    as_json: Json = False,
) -> None:
    """Trained models and rows with answers to models for tasks, with their figures."""
    one_kind("finetune", recipe, sets, work, as_json, max_minutes, hostfile, resume)


@app.command(epilog="Example: bloomery predict runs/finetune/topics --input rows.jsonl --out said.jsonl")
def predict(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="RUN", help="A fine-tuned run or its checkpoints/step-N.")
    ],
    given: Annotated[
        Path, typer.Option("--input", metavar="FILE", help="Rows with the columns that the task reads.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write JSON lines there, not to stdout.")
    ] = None,
    task: Annotated[
        str, typer.Option("--task", metavar="NAME", help="Which of several mixed tasks the rows are of.")
    ] = "",
    average: Average = False,
    as_json: Json = False,
) -> None:
    """What a fine-tuned model says of each row, with scores; rows need not say what would be right."""
    with reporting(as_json) as result:
        from launch.predict import predict as run

        result |= run(checkpoint, given, out, task, average, print_line)
