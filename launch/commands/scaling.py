"""The command of scaling laws: scale."""

from pathlib import Path
from typing import Annotated

import typer

from data_prep.contract.settings import InputError
from launch.commands.stages import make_runner
from launch.console import Hostfile, Json, Minutes, Overrides, Work, app, print_line, reporting


@app.command(epilog="Example: bloomery scale launch/recipes/scaling.yaml, or --table runs.csv --budget 1e21")
def scale(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="RECIPE", help="A recipe with a study: trained, then fitted.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Finished runs: parameters, tokens, flops, loss; or JSON lines."),
    ] = None,
    form: Annotated[
        str,
        typer.Option(help="hoffmann, envelope, isoflop, hoffmann-early, kaplan, critical-batch or repeated."),
    ] = "hoffmann",
    budget: Annotated[
        list[float] | None, typer.Option(metavar="FLOPS", help="Plan a model for it; several may be given.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=20, max=100_000, help="Fits that intervals rest on.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds draw equal resamples.")] = 0,
    drop_highest: Annotated[
        int, typer.Option(min=0, help="Leave out so many runs, those with the highest losses.")
    ] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write a page and images there.")] = None,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="With a recipe: show what would be trained, and leave.")
    ] = False,
    sets: Overrides = None,
    work: Work = None,
    max_minutes: Minutes = None,
    hostfile: Hostfile = None,
    as_json: Json = False,
) -> None:
    """Scaling laws: of a recipe's study, which is planned, trained and predicted, or of a table of runs."""
    with reporting(as_json) as result:
        if (recipe is None) == (table is None):
            raise InputError("give a RECIPE with a section study, or --table CSV of finished runs")
        if recipe is not None:
            from launch.scale_study import scale_study

            result |= scale_study(make_runner(recipe, sets, work, max_minutes, hostfile), plan_only)
        elif table is not None:
            from launch.scale import scale as fit
            from pipeline.scaling.forms import Request

            result |= fit(table, form, Request(budget or [], resamples, seed), drop_highest, out, print_line)
