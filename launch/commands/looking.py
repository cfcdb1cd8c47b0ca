"""Commands that look at what there is: inspect, doctor, dashboard, sync."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from launch.console import Hostfile, Json, Overrides, Work, app, print_line, reporting


@app.command(epilog="Example: bloomery inspect runs/quickstart/dataset")
def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="A dataset, checkpoint, run, work folder, or records (.parquet)."
        ),
    ],
    step: Annotated[
        int | None, typer.Option(help="Show the documents or rows that this step trained on.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Of records: only questions like that, as in right=false."),
    ] = None,
    versus: Annotated[
        list[str] | None,
        typer.Option(
            "--compare", metavar="RUN", help="Of records: McNemar's test of two runs; give it twice."
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Of pictures: write some of each split side by side."),
    ] = None,
    as_json: Json = False,
) -> None:
    """What a dataset, checkpoint, run or the records of an evaluation hold."""
    with reporting(as_json) as result:
        from launch import show

        if path.suffix == ".parquet":
            from launch.records import inspect_records, record_lines

            result |= inspect_records(path, where or [], versus or [])
            print_line("\n".join(record_lines(result, versus or [])))
            return
        result |= show.describe(path) if step is None else show.trace(path, step)
        if sheet:
            result["sheet"] = str(show.write_sheet(path, sheet))
        if not as_json:
            told_lines = show.lines(result) if step is None else show.step_lines(result)
            print_line("\n".join(told_lines))


@app.command(epilog="Example: bloomery doctor launch/recipes/quickstart.yaml --hostfile HOSTS")
def doctor(
    recipe: Annotated[Path | None, typer.Argument(metavar="RECIPE", help="The recipe to fit in.")] = None,
    sets: Overrides = None,
    work: Work = None,
    hostfile: Hostfile = None,
    wheelhouse: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Gather here what nodes without a network need, and check that instead."
        ),
    ] = None,
    python: Annotated[str, typer.Option(help="Of a wheelhouse: the nodes' Python.")] = "3.12",
    platform: Annotated[
        str, typer.Option(help="Of a wheelhouse: the nodes' platform, as wheels name it.")
    ] = "manylinux_2_28_x86_64",
    has: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|NAME==VERSION",
            help="Of a wheelhouse: what the nodes have, as `pip freeze` prints it there.",
        ),
    ] = None,
    extra: Annotated[
        list[str] | None, typer.Option(help="Of a wheelhouse: engine where left out, train, prep, ...")
    ] = None,
    constraint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of a wheelhouse: pip's constraints.")
    ] = None,
    at_most: Annotated[
        float | None, typer.Option(metavar="MB", min=0.0, help="Of a wheelhouse: its largest size.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Whether machines, network, storage and a recipe go together; status 1 where something fails.

    With --wheelhouse: whether nodes that reach no package index get all they need from that folder.
    """
    with reporting(as_json) as result:
        if wheelhouse is not None:
            from launch.wheelhouse.check import make
            from launch.wheelhouse.node import read_node

            node = read_node(python, platform, has or [])
            told = make(node, extra or ["engine"], wheelhouse, constraint, at_most, print_line)
        else:
            from launch import recipe as recipes
            from launch.doctor.diagnose import diagnose
            from launch.work import work_folder

            read = recipes.load(recipe, sets or []) if recipe else None
            told = diagnose(read, work_folder(read, work) if read else Path(work or "."), hostfile)
        findings = []
        for finding in told:
            findings.append(finding)
            print_line(finding.line())
        result |= {
            "ok": all(finding.status != "fail" for finding in findings),
            "findings": [asdict(finding) for finding in findings],
        }
    if not result["ok"]:
        raise SystemExit(1)


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
    with reporting(as_json=False):
        from launch import dashboard as served

        def ready(page: str) -> None:
            print_line(json.dumps({"page": page}) if as_json else page)

        served.run(folder, browser, ready, lambda line: print(line, file=sys.stderr))


@app.command(epilog="Example: MLFLOW_TRACKING_URI=http://mlflow:5000 bloomery sync runs/quickstart")
def sync(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run or a work folder.")],
    as_json: Json = False,
) -> None:
    """Send MLflow what it missed of a run while it could not be reached."""
    with reporting(as_json) as result:
        from pipeline.reports.publish import sync as send

        result["steps"] = send(folder, print_line)
        print_line(f"{folder}: MLflow has everything ({result['steps']} steps sent)")
