"""Commands that run a recipe's stages: run, stages, prep, train, tune, eval."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from launch.console import (
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
    with reporting(as_json) as result:
        runner = make_runner(recipe, sets, work, max_minutes, hostfile)
        runner.run(stage)
        result |= _places(runner)
        for name, place in result.items():
            print_line(f"{name:<12} {place}")


@app.command(epilog="Example: bloomery stages launch/recipes/quickstart.yaml")
def stages(recipe: RecipePath, sets: Overrides = None, work: Work = None, as_json: Json = False) -> None:
    """The stages of a recipe, what each reads, and which are done, out of date or missing, and why."""
    with reporting(as_json) as result:
        from launch.runner import states

        found = states(make_runner(recipe, sets, work).graph)
        result["stages"] = [asdict(one) for one in found]
        width = max(len(one.name) for one in found)
        for one in found:
            reads = f"reads {', '.join(one.needs)}" if one.needs else ""
            why = f"({one.why})" if one.why else ""
            line = f"{one.name:<{width}}  {one.kind:<10} {one.state:<12} {reads} {why}"
            print_line(line.replace("\n", " ").rstrip())


@app.command(epilog="Example: bloomery prep launch/recipes/web.yaml --set 'corpus.paths=[crawl/*.warc.gz]'")
def prep(recipe: RecipePath, sets: Overrides = None, work: Work = None, as_json: Json = False) -> None:
    """Raw documents to a tokenized dataset, on Ray (RAY_ADDRESS, else here)."""
    one_kind("prep", recipe, sets, work, as_json)


def training_command(name: str, kind: str, about: str, example: str) -> None:
    """Add a command that runs every training of a kind."""

    @app.command(name, help=about, epilog=f"Example: bloomery {name} {example}")
    def command(
        recipe: RecipePath,
        sets: Overrides = None,
        work: Work = None,
        resume: Resume = False,
        max_minutes: Minutes = None,
        hostfile: Hostfile = None,
        as_json: Json = False,
    ) -> None:
        one_kind(kind, recipe, sets, work, as_json, max_minutes, hostfile, resume)


training_command(
    "train",
    "pretrain",
    "A dataset to a pretrained model; goes on by itself where a process fails.",
    "launch/recipes/quickstart.yaml --set parallel.tensor=2",
)
training_command(
    "tune",
    "instruct",
    "A pretrained model and instructions to a tuned one.",
    "launch/recipes/quickstart.yaml --set 'tune.data=[pairs.jsonl]'",
)


@app.command("eval", epilog="Example: bloomery eval launch/recipes/quickstart.yaml --set eval.questions=300")
def evaluate(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="The recipe's YAML file; with --harness a run.")
    ],
    sets: Overrides = None,
    work: Work = None,
    harness: Annotated[
        str | None,
        typer.Option(metavar="TASKS", help="Put these tasks of lm-evaluation-harness to a run, as in a,b."),
    ] = None,
    include: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="--harness: where task files of yours are.")
    ] = None,
    shots: Annotated[
        int | None, typer.Option(min=0, help="--harness: examples before each question.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="--harness: questions of each task.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="--harness: write scores and samples there.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="--harness: processes with a share each; one a GPU by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Trained models to scores of tasks, perplexity, generations and the report."""
    if harness is None:
        one_kind("evaluate", recipe, sets, work, as_json, report=True)
        return
    with reporting(as_json) as result:
        from launch.harness import evaluate_run
        from pipeline.evaluation.harness.run import Request

        request = Request(harness.split(","), include, shots, limit)
        result["results"] = evaluate_run(recipe, request, out, print_line, processes)


def one_kind(
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
    """Run every stage of a kind."""
    with reporting(as_json) as result:
        runner = make_runner(recipe, sets, work, max_minutes, hostfile)
        for receipt in runner.of_kind(kind, resume):
            result |= {"stage": receipt.stage, "fingerprint": receipt.fingerprint, **receipt.counts}
        if report:
            runner.report()


def make_runner(
    path: Path,
    sets: list[str] | None,
    work: str | None,
    max_minutes: float | None = None,
    hostfile: Path | None = None,
) -> Any:
    """A recipe in its work folder, ready to run."""
    from launch import recipe as recipes
    from launch.runner import Runner
    from launch.work import work_address, work_folder

    recipe = recipes.load(path, sets or [])
    folder = work_folder(recipe, work)
    arguments = [str(path), "--work", str(folder)]
    for override in sets or []:
        arguments += ["--set", override]
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    return Runner(recipe, folder, arguments, print_line, work_address(work), deadline, hostfile)


def _places(runner: Any) -> dict[str, str]:
    """Where a person finds what came out."""
    from pipeline.reports.report import REPORT
    from pipeline.tracking.server import how_to_look

    places = {"report": str((runner.work / REPORT).resolve())}
    places |= {name: str((runner.work / name).resolve()) for name in runner.graph.stages}
    return places | {"mlflow": how_to_look(runner.work)}
