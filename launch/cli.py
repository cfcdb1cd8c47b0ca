"""The `bloomery` command.

Only what `--help` needs is imported at the top: torch, Ray and MLflow wait for the command that uses them.
"""

import errno
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from data_prep.contract.names import one_line
from data_prep.contract.settings import InputError
from launch.quiet import quieten

app = typer.Typer(
    help="From raw documents to a pretrained, tuned and measured language model, with one recipe.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

INTERRUPTED = 130
"""Exit status of a command that was ended by Ctrl-C and has nothing to save."""
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


@app.command(epilog="Example: bloomery run launch/recipes/quickstart.yaml --set train.steps=200")
def run(
    recipe: RecipePath,
    stage: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A stage to run, with what it needs; several may be given."),
    ] = None,
    sets: Overrides = None,
    work: Work = None,
    max_minutes: Minutes = None,
    hostfile: Hostfile = None,
    as_json: Json = False,
) -> None:
    """Every stage of the recipe, or some, skipping what is done."""
    with told(as_json) as result:
        runner = _runner(recipe, sets, work, max_minutes, hostfile)
        runner.run(stage)
        result |= _places(runner)
        for name, place in _places(runner).items():
            say(f"{name:<12} {place}")


@app.command(epilog="Example: bloomery stages launch/recipes/quickstart.yaml")
def stages(recipe: RecipePath, sets: Overrides = None, work: Work = None, as_json: Json = False) -> None:
    """The stages of a recipe, what each reads, and which are done, out of date or missing, and why."""
    with told(as_json) as result:
        from launch.runner import states

        found = states(_runner(recipe, sets, work).graph)
        result["stages"] = [asdict(one) for one in found]
        width = max(len(one.name) for one in found)
        for one in found:
            reads = f"reads {', '.join(one.needs)}" if one.needs else ""
            why = f"({one.why})" if one.why else ""
            say(
                " ".join(
                    f"{one.name:<{width}}  {one.kind:<10} {one.state:<12} {reads} {why}".split("\n")
                ).rstrip()
            )


@app.command(epilog="Example: bloomery prep launch/recipes/web.yaml --set 'corpus.paths=[crawl/*.warc.gz]'")
def prep(recipe: RecipePath, sets: Overrides = None, work: Work = None, as_json: Json = False) -> None:
    """Raw documents to a tokenized dataset, on Ray (RAY_ADDRESS, else here)."""
    _one("prep", recipe, sets, work, as_json)


@app.command(epilog="Example: bloomery train launch/recipes/quickstart.yaml --set parallel.tensor=2")
def train(
    recipe: RecipePath,
    sets: Overrides = None,
    work: Work = None,
    resume: Resume = False,
    max_minutes: Minutes = None,
    hostfile: Hostfile = None,
    as_json: Json = False,
) -> None:
    """A dataset to a pretrained model; goes on by itself where a process fails."""
    _one("pretrain", recipe, sets, work, as_json, max_minutes, hostfile, resume)


@app.command(epilog="Example: bloomery tune launch/recipes/quickstart.yaml --set 'tune.data=[pairs.jsonl]'")
def tune(
    recipe: RecipePath,
    sets: Overrides = None,
    work: Work = None,
    resume: Resume = False,
    max_minutes: Minutes = None,
    hostfile: Hostfile = None,
    as_json: Json = False,
) -> None:
    """A pretrained model and instructions to a tuned one."""
    _one("instruct", recipe, sets, work, as_json, max_minutes, hostfile, resume)


@app.command("eval", epilog="Example: bloomery eval launch/recipes/quickstart.yaml --set eval.questions=300")
def evaluate(recipe: RecipePath, sets: Overrides = None, work: Work = None, as_json: Json = False) -> None:
    """Trained models to perplexity, the shot curve, generations and the report."""
    _one("evaluate", recipe, sets, work, as_json, report=True)


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
    as_json: Json = False,
) -> None:
    """Texts from a model: what follows a prompt, or what fills in a blank."""
    with told(as_json) as result:
        if (prompt is None) == (fill is None):
            raise InputError("give --prompt TEXT to go on with, or --fill TEXT with <mask> in it")
        from launch.generate import answers, blanks, filled_lines
        from pipeline.generation.beams import Beams
        from pipeline.generation.sampling import Sampling

        search = Beams(beams or Beams.count, length_penalty)
        if fill:
            filled = blanks(checkpoint, fill, tokens, search)
            result |= {
                "texts": [one.text for one in filled],
                "blanks": [asdict(one)["blanks"] for one in filled],
            }
            say("\n".join(line for one in filled for line in filled_lines(one)))
        elif prompt:
            how = search if beams else Sampling(temperature, top_k, top_p, seed)
            result["texts"] = answers(checkpoint, prompt, chat, tokens, how, write)


@app.command(epilog="Example: bloomery export runs/quickstart/pretrain my-model")
def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A run or its checkpoints/step-N.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; it must not exist.")],
    as_json: Json = False,
) -> None:
    """A checkpoint to a Hugging Face folder; refused where transformers' model does not compute the same."""
    with told(as_json) as result:
        from pipeline.conversion.export import export as write

        result |= write(checkpoint, out, say)
        say(f"{out}: transformers loads it with AutoModel.from_pretrained")


@app.command("import", epilog="Example: bloomery import my-model runs/mine/pretrain")
def import_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A Hugging Face folder with safetensors.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The run's folder to write; it must not exist.")],
    as_json: Json = False,
) -> None:
    """A Hugging Face folder to a run; refused where our model does not compute the same."""
    with told(as_json) as result:
        from pipeline.conversion.imports import import_folder

        result |= import_folder(folder, out, say)
        say(f"{out}: a run of step 0, to generate from, evaluate, tune and train further")


@app.command(epilog="Example: bloomery inspect runs/quickstart/dataset")
def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A dataset, checkpoint, run or work folder.")],
    step: Annotated[int | None, typer.Option(help="Show the documents that this step trained on.")] = None,
    as_json: Json = False,
) -> None:
    """What a dataset, checkpoint or run holds."""
    from launch import show

    with told(as_json) as result:
        result |= show.describe(path) if step is None else show.trace(path, step)
        if not as_json:
            told_lines = show.lines(result) if step is None else show.sample_lines(result["samples"])
            say("\n".join(told_lines))


@app.command(epilog="Example: bloomery doctor launch/recipes/quickstart.yaml --hostfile HOSTS")
def doctor(
    recipe: Annotated[Path | None, typer.Argument(metavar="RECIPE", help="The recipe to fit in.")] = None,
    sets: Overrides = None,
    work: Work = None,
    hostfile: Hostfile = None,
    as_json: Json = False,
) -> None:
    """Whether machines, network, storage and a recipe go together; status 1 where something fails."""
    with told(as_json) as result:
        from launch import recipe as recipes
        from launch.doctor.diagnose import diagnose
        from launch.work import work_folder

        read = recipes.load(recipe, sets or []) if recipe else None
        folder = work_folder(read.pipeline(), work) if read else Path(work or ".")
        findings = []
        for finding in diagnose(read, folder, hostfile):
            findings.append(finding)
            say(finding.line())
        result |= {
            "ok": all(finding.status != "fail" for finding in findings),
            "findings": [asdict(finding) for finding in findings],
        }
    if not result["ok"]:
        raise SystemExit(1)


@app.command(epilog="Example: MLFLOW_TRACKING_URI=http://mlflow:5000 bloomery sync runs/quickstart")
def sync(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run or a work folder.")],
    as_json: Json = False,
) -> None:
    """Send MLflow what it missed of a run while it could not be reached."""
    with told(as_json) as result:
        from pipeline.reports.publish import sync as send

        result["steps"] = send(folder, say)
        say(f"{folder}: MLflow has everything ({result['steps']} steps sent)")


@app.command(epilog="Example: bloomery dashboard runs/quickstart")
def dashboard(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A work folder, a stage's, or one of runs; runs/ where left out."),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open a browser where there is one.")
    ] = True,
    as_json: Json = False,
) -> None:
    """MLflow on the page that matters; serves until Ctrl-C, or names the server of MLFLOW_TRACKING_URI."""
    with told(as_json=False):
        from launch import dashboard as served

        def ready(page: str) -> None:
            say(json.dumps({"page": page}) if as_json else f"{page}")

        served.run(folder, browser, ready, lambda line: print(line, file=sys.stderr))


def _one(
    kind: str,
    recipe: Path,
    sets: list[str] | None,
    work: str | None,
    as_json: bool,
    max_minutes: float | None = None,
    hostfile: Path | None = None,
    resume: bool = False,
    report: bool = False,
) -> None:
    with told(as_json) as result:
        runner = _runner(recipe, sets, work, max_minutes, hostfile)
        for receipt in runner.of_kind(kind, resume):
            result |= {"stage": receipt.stage, "fingerprint": receipt.fingerprint, **receipt.counts}
        if report:
            runner.report()


def _runner(
    path: Path,
    sets: list[str] | None,
    work: str | None,
    max_minutes: float | None = None,
    hostfile: Path | None = None,
) -> Any:
    from launch import recipe as recipes
    from launch.runner import Runner
    from launch.work import work_address, work_folder

    recipe = recipes.load(path, sets or [])
    folder = work_folder(recipe, work)
    arguments = [str(path), "--work", str(folder)]
    for override in sets or []:
        arguments += ["--set", override]
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    return Runner(recipe, folder, arguments, say, work_address(work), deadline, hostfile)


def write(part: str) -> None:
    """A part of a line, at once."""
    print(part, end="", flush=True)


def say(line: str) -> None:
    """Tell the user something, at once."""
    print(line, flush=True)


@contextmanager
def told(as_json: bool) -> Iterator[dict[str, Any]]:
    """Errors of the user's become one sentence and status 2; with --json the result ends stdout."""
    from launch.runner import TrainingFailedError
    from pipeline.health.stopping import RESUME

    result: dict[str, Any] = {}
    try:
        yield result
    except InputError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
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


def _places(runner: Any) -> dict[str, str]:
    """Where a person finds what came out."""
    from pipeline.reports.report import REPORT
    from pipeline.tracking.server import how_to_look

    places = {"report": str((runner.work / REPORT).resolve())}
    places |= {name: str((runner.work / name).resolve()) for name in runner.graph.stages}
    return places | {"mlflow": how_to_look(runner.work)}


def main() -> None:
    """Entry point of the `bloomery` command."""
    quieten()
    app()
