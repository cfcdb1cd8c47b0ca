"""The kind of stage that asks runs what a collection held out, with no example: the likeliest choice counts.

zero: {kind: held_out, of: [base, tuned], data: tasks}

By cluster it tells the median over templates and their quartiles, and never the best template.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import PositiveInt

from data_prep.contract.reading import read_json
from data_prep.contract.receipt import Receipt, write_atomic
from data_prep.contract.report import Headline, Section, StageReport, Table, Text, percent
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.stages import RUN, Input, Kind, Notify, Stage
from pipeline.stages.collection import CLUSTERS, SUITE
from pipeline.stages.files import CONVERSATIONS
from pipeline.stages.training import find_start

if TYPE_CHECKING:
    from pipeline.evaluation.tasks.suites import LoadedTask

RESULTS = "held_out.json"


class HeldOutConfig(Settings):
    questions: PositiveInt | None = None
    """Most questions of each template; null asks all."""


class HeldOut(Kind):
    """`held_out`: zero-shot rank classification of clusters that were not trained on."""

    name, gives = "held_out", "figures"
    inputs = (Input("of", (RUN,), many=True), Input("data", (CONVERSATIONS,)))
    settings = HeldOutConfig
    artifacts = (RESULTS,)
    libraries = ("torch",)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Ask every run the same."""
        from pipeline.evaluation.evaluate import identity, is_tuned
        from pipeline.evaluation.tasks.measure import Measurement
        from pipeline.evaluation.tasks.suites import Suite, read_suite
        from pipeline.evaluation.workers import Workers
        from pipeline.generation.load import load_model

        source, settings = stage.source("data"), stage.settings
        assert source is not None
        assert isinstance(settings, HeldOutConfig)
        if not (source.path / CLUSTERS).is_file():
            raise InputError(
                f"{source.path}: nothing with choices was held out; give {source.label} its key hold_out"
            )
        suite = read_suite(source.path / SUITE)
        tasks = [limited(one, settings.questions) for one in suite.tasks]
        measurement = Measurement([Suite(suite.name, tasks)], stage.folder, stage.seed, notify)
        runs = {}
        for one in stage.inputs["of"]:
            _, run = find_start(one)
            notify(f"{stage.name}: {len(tasks)} templates of what was held out, to {one.label}")
            workers = Workers(load_model(run))
            told = measurement.ask(workers, one.label, identity(run), is_tuned(run))
            runs[one.label] = {name: figures[0] for name, figures in told[suite.name].items()}
        measurement.finish()
        chances = {one.task.task: one.chance for one in tasks}
        results = {"runs": runs, "chances": chances, "clusters": read_json(source.path / CLUSTERS)}
        write_atomic(stage.folder / RESULTS, json.dumps(results, indent=1) + "\n")
        return {"templates": len(tasks), "runs": len(runs)}

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Clusters, then each template."""
        return reported(read_json(folder / RESULTS))


def limited(one: "LoadedTask", most: int | None) -> "LoadedTask":
    """A task with the first questions alone."""
    from dataclasses import replace

    return replace(one, questions=one.questions[:most], identity=f"{one.identity} {most}")


def by_cluster(results: dict[str, Any], run: str) -> dict[str, tuple[float, float, float, float]]:
    """The median over a cluster's templates, both quartiles, and the mean chance."""
    found = {}
    for cluster in dict.fromkeys(one for some in results["clusters"].values() for one in some):
        names = [name for name, some in results["clusters"].items() if cluster in some]
        values = [results["runs"][run][name]["value"] for name in names]
        low, middle, high = (float(one) for one in np.quantile(values, [0.25, 0.5, 0.75]))
        chance = float(np.mean([results["chances"][name] for name in names]))
        found[cluster] = (middle, low, high, chance)
    return found


def reported(results: dict[str, Any]) -> StageReport:
    """The tables, and the last run's clusters beside the first's in one line."""
    clusters, templates = [], []
    for run, told in results["runs"].items():
        clusters += [
            [run, name, f"{middle:.3f}", f"{low:.3f} to {high:.3f}", f"{chance:.3f}"]
            for name, (middle, low, high, chance) in by_cluster(results, run).items()
        ]
        templates += [
            [run, name, str(one["n"]), f"{one['value']:.3f}", f"{one['low']:.3f} to {one['high']:.3f}"]
            for name, one in told.items()
        ]
    start, *_, last = results["runs"] if len(results["runs"]) > 1 else [*results["runs"]] * 2
    before, after = (
        float(np.mean([one[0] for one in by_cluster(results, run).values()])) for run in (start, last)
    )
    headline = Headline("held-out clusters", percent(after, 1), f"{last}; {percent(before, 1)} of {start}")
    head = ["run", "cluster", "median over templates", "quartiles", "chance"]
    words = Text(
        "Nothing of these clusters was trained on, and no example is shown. The choice with the largest sum "
        "of log-probabilities is the answer, whatever its length."
    )
    return StageReport(
        [headline],
        [
            Section(
                "Held out",
                [
                    Table(head, clusters, frozenset({2, 3, 4})),
                    words,
                    Table(
                        ["run", "template", "questions", "right", "95 % interval"],
                        templates,
                        frozenset({2, 3, 4}),
                    ),
                ],
            )
        ],
    )
