"""Commands that make models for tasks and ask them: finetune, predict."""

from pathlib import Path
from typing import Annotated

import typer

from launch.commands.stages import training_command
from launch.console import Average, Json, app, print_line, reporting

training_command(
    "finetune",
    "finetune",
    "Trained models and rows with answers to models for tasks, with their figures.",
    "launch/recipes/finetune.yaml --work runs/finetune",
)


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
