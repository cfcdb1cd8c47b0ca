"""Commands that use a model: generate, export, import."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from data_prep.contract.settings import InputError
from launch.console import Average, Json, app, print_line, print_part, reporting


@app.command(epilog="Example: bloomery generate runs/quickstart/pretrain --prompt 'Return the' --beams 4")
def generate(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A run or its checkpoints/step-N.")
    ],
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="A text to go on with, or with --chat to answer; several may be given."
        ),
    ] = None,
    fill: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A text with <mask> in it for an encoder, T5 or BART to fill in."),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A picture that the prompts ask about; several may be given."),
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Ask a tuned model through its chat template.")
    ] = False,
    tokens: Annotated[int, typer.Option(min=1, help="Most tokens to add.")] = 128,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="Draw from the k likeliest tokens; 0 from all.")] = 0,
    top_p: Annotated[float, typer.Option(min=0.01, max=1.0, help="Draw from this much probability.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds draw equal texts.")] = 0,
    beams: Annotated[
        int | None,
        typer.Option(min=1, help="Search for the likeliest text with so many beams instead of drawing one."),
    ] = None,
    length_penalty: Annotated[
        float, typer.Option(help="Beams: power of the length that scores are divided by; more favours long.")
    ] = 1.0,
    average: Average = False,
    as_json: Json = False,
) -> None:
    """Texts from a model: what follows a prompt, or what fills in a blank."""
    with reporting(as_json) as result:
        if (prompt is None) == (fill is None):
            raise InputError("give --prompt TEXT to go on with, or --fill TEXT with <mask> in it")
        if image and (not prompt or chat or beams or average):
            raise InputError("--image goes with --prompt TEXT, and without --chat, --beams and --average")
        from launch.generate import about_images, answers, blanks, filled_lines
        from pipeline.generation.beams import Beams
        from pipeline.generation.sampling import Sampling

        search = Beams(beams or Beams.count, length_penalty)
        if fill:
            filled = blanks(checkpoint, fill, tokens, search, average)
            result |= {
                "texts": [one.text for one in filled],
                "blanks": [asdict(one)["blanks"] for one in filled],
            }
            print_line("\n".join(line for one in filled for line in filled_lines(one)))
        elif prompt and image:
            drawn = Sampling(temperature, top_k, top_p, seed)
            result["texts"] = about_images(checkpoint, image, prompt, tokens, drawn, print_part)
        elif prompt:
            how = search if beams else Sampling(temperature, top_k, top_p, seed)
            result["texts"] = answers(checkpoint, prompt, chat, tokens, how, print_part, average)


@app.command(epilog="Example: bloomery export runs/quickstart/pretrain my-model")
def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A run or its checkpoints/step-N.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; it must not exist.")],
    average: Average = False,
    register: Annotated[
        str | None,
        typer.Option("--register", metavar="NAME", help="Make it a version of the model NAME in MLflow."),
    ] = None,
    as_json: Json = False,
) -> None:
    """A checkpoint to a Hugging Face folder; refused where transformers' model does not compute the same."""
    with reporting(as_json) as result:
        from launch.registration import Registration
        from pipeline.conversion.export import export as write

        registration = Registration.of(checkpoint, register) if register else None
        result |= write(checkpoint, out, print_line, average)
        if registration:
            registration.send(out, print_line)
        print_line(f"{out}: transformers loads it with AutoModel.from_pretrained")


@app.command("import", epilog="Example: bloomery import my-model runs/mine/pretrain")
def import_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A Hugging Face folder with safetensors.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The run's folder to write; it must not exist.")],
    as_json: Json = False,
) -> None:
    """A Hugging Face folder to a run; refused where our model does not compute the same."""
    with reporting(as_json) as result:
        from pipeline.conversion.imports import import_folder

        result |= import_folder(folder, out, print_line)
        print_line(f"{out}: a run of step 0, to generate from, evaluate, tune and train further")
