"""The command that plans a training: plan."""

from pathlib import Path
from typing import Annotated

import typer

from launch.console import Json, Overrides, app, print_line, reporting

LAYOUT = "Layout"


@app.command(epilog="Example: bloomery plan llama2-70b --gpu h100 --gpus 512 --tokens 2e12 --price 2.5")
def plan(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A preset, such as llama2-70b, or a recipe's YAML file.")
    ],
    gpu: Annotated[str, typer.Option(help="a100-40, a100-80, h100, h200, b200, mi300x, v100, ...")],
    gpus: Annotated[int, typer.Option(help="How many.")],
    tokens: Annotated[
        float | None, typer.Option(help="To train on; the recipe's steps, or 20 a parameter.")
    ] = None,
    budget: Annotated[float | None, typer.Option(metavar="FLOPS", help="6ND, instead of tokens.")] = None,
    global_batch: Annotated[
        int | None, typer.Option(help="Samples in a step; the recipe's, or by DeepSeek's rule.")
    ] = None,
    sequence_length: Annotated[int | None, typer.Option(help="Tokens of a sample.")] = None,
    vocabulary: Annotated[int | None, typer.Option(help="Pieces of the tokenizer; 50257.")] = None,
    price: Annotated[float | None, typer.Option(help="Of a GPU hour, in any currency.")] = None,
    law: Annotated[
        str, typer.Option(help="hoffmann, besiroglu, kaplan, or a scaling.json of `bloomery scale --out`.")
    ] = "besiroglu",
    tensor: Annotated[int | None, typer.Option(rich_help_panel=LAYOUT, help="Only this size.")] = None,
    pipeline: Annotated[int | None, typer.Option(rich_help_panel=LAYOUT, help="Only this size.")] = None,
    zero: Annotated[int | None, typer.Option(rich_help_panel=LAYOUT, help="Only this stage.")] = None,
    micro_batch: Annotated[int | None, typer.Option(rich_help_panel=LAYOUT, help="Only this size.")] = None,
    failure_hours: Annotated[
        float, typer.Option("--gpu-hours-per-failure", help="Llama 3's by default.")
    ] = 50_000.0,
    write_speed: Annotated[
        float, typer.Option(metavar="GB/S", help="Into storage, of all hosts together.")
    ] = 10.0,
    rows: Annotated[int, typer.Option(min=1, max=1000, help="Layouts to show.")] = 8,
    sets: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Draw strong and weak scaling to 10,240 GPUs there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Layouts that fit a cluster, the fastest first: memory, MFU, days, cost; checkpoints; the best size."""
    with reporting(as_json) as result:
        from launch.plan import Question
        from launch.plan import plan as answer
        from pipeline.planning.search import Wanted

        question = Question(
            model,
            gpu,
            gpus,
            tokens,
            global_batch,
            sequence_length,
            vocabulary,
            price,
            law,
            budget,
            failure_hours,
            write_speed,
            rows,
            sets or [],
        )
        wanted = Wanted(0, tensor, pipeline, zero, micro_batch)
        result |= answer(question, wanted, out, print_line)
