"""`bloomery scale RECIPE`: a study from its plan to its laws.

bloomery scale launch/recipes/scaling.yaml
"""

from typing import Any

from data_prep.contract.reading import read_json
from launch.estimate import peak_of, seconds, together
from launch.local import Place, places
from launch.runner import Runner
from launch.side_by_side import SideBySide
from launch.study import LAW, base_of, plan_table
from pipeline.reports.scaling import table_lines
from pipeline.reports.study import NUMBERS, compared
from pipeline.scaling.grid import grid


def scale_study(runner: Runner, plan_only: bool) -> dict[str, Any]:
    """Show the plan with its cost, then run what is not done yet; the numbers for --json."""
    recipe, base = runner.recipe, base_of(runner.recipe)
    cells, where = grid(base), here(runner)
    runner.graph.with_needs()  # whatever is wrong with a stage is said before anything is shown
    peak, device = peak_of(where[0] or places(recipe.parallel, 1)[0])
    each = seconds(cells, runner.work, peak, device)
    for line in table_lines(plan_table(cells, each)):
        runner.notify(line)
    first = together([each[one.name] for one in cells if not one.held_out], len(where))
    last = together([each[one.name] for one in cells if one.held_out], len(where))
    flops = sum(one.flops for one in cells)
    runner.notify(
        f"{len(cells)} trainings, {flops:.3g} FLOPs, about {(first + last) / 60:.0f} minutes, {len(where)} "
        "side by side; batches and rates as the recipe says (rules: pipeline/scaling/training_rules.py)"
    )
    found: dict[str, Any] = {
        "runs": [{"run": one.name, **one.columns, "seconds": each[one.name]} for one in cells],
        "flops": flops,
        "seconds": first + last,
    }
    if plan_only:
        return found
    SideBySide(runner, where).run(runner.graph.with_needs())
    report = runner.report()
    numbers = read_json(runner.work / LAW / NUMBERS)
    for part in compared(numbers["compared"])[1:]:
        for line in table_lines(part):  # type: ignore[arg-type]
            runner.notify(line)
    return found | {"report": str(report.resolve()), "law": numbers}


def here(runner: Runner) -> list[Place | None]:
    """Where trainings run side by side: parts of this machine, or all hosts as one place."""
    study = runner.recipe.study
    assert study is not None
    if runner.hostfile is not None:
        return [None]
    return list(places(runner.recipe.parallel, study.side_by_side))
