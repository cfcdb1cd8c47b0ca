"""The kind of stage that compares ways of reasoning: a run and tasks to accuracies, tests and costs.

    reasoning:
      kind: chains
      of: model
      suite: problems                # a stage that gives tasks, or a folder of task files
      ways:
        direct: {way: direct, kind: number, shots: 2}
        chain:  {way: few_shot, kind: number, shots: 2, against: [direct]}
        vote:   {way: few_shot, kind: number, shots: 2, paths: 20, against: [chain]}

results.json       what each way is worth on each task, and the tests
records/           every question with its chain and its votes (`pipeline.evaluation.tasks.records`)
"""

import json
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from data_prep.contract.reading import read_json
from data_prep.contract.receipt import Receipt, fingerprint, write_atomic
from data_prep.contract.report import StageReport
from data_prep.contract.settings import Settings
from data_prep.contract.stages import RUN, Input, Kind, Notify, Stage
from pipeline.evaluation.tasks.suites import Suite, identity_of, read_suite
from pipeline.evaluation.tasks.ways import WaySettings, by_way, compared, worth
from pipeline.reports.chains import chains_report
from pipeline.stages.problems import SUITE

RESULTS = "results.json"


class ChainsConfig(Settings):
    not_in_fingerprint = frozenset({"processes"})

    ways: dict[str, WaySettings] = Field(min_length=1)
    """Ways of reasoning by name; each is asked every task, or those that it names."""
    processes: PositiveInt | None = None
    """Processes that hold the model and are put a share of the questions; null has one a GPU."""


class Chains(Kind):
    """`chains`: one model on the same questions in several ways."""

    name, gives, settings = "chains", "figures", ChainsConfig
    inputs = (Input("of", (RUN,)), Input("suite", (SUITE,)))
    artifacts, libraries = (RESULTS,), ("torch",)

    def read(self, stage: Stage) -> dict[str, str]:
        """Tasks are known by what they ask, wherever they lie."""
        of, suite = stage.source("of"), stage.source("suite")
        assert of is not None
        assert suite is not None
        from pipeline.evaluation.evaluate import identity

        return {"of": identity(of.path), "suite": fingerprint(identity_of(suite.path))}

    def check(self, stage: Stage) -> None:
        """What is wrong with the tasks, or with a way on one of them."""
        settings, suite = stage.settings, stage.source("suite")
        assert isinstance(settings, ChainsConfig)
        assert suite is not None
        if suite.path.exists():
            by_way(read_suite(suite.path), settings.ways)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Ask every task in every way."""
        from pipeline.evaluation.evaluate import identity
        from pipeline.evaluation.tasks.measure import Measurement
        from pipeline.evaluation.workers import Workers, processes
        from pipeline.generation.load import load_model

        settings, of, suite = stage.settings, stage.source("of"), stage.source("suite")
        assert isinstance(settings, ChainsConfig)
        assert of is not None
        assert suite is not None
        asked = by_way(read_suite(suite.path), settings.ways)
        model, mark = load_model(of.path), identity(of.path)
        found: dict[str, dict[str, Any]] = {}
        asking = Measurement(
            [Suite(stage.name, [one for *_, one in asked])], stage.folder, stage.seed, notify
        )
        with Workers(model, of.path, processes(settings.processes)) as workers:
            for task, way, loaded in asked:
                records = asking.records(loaded, stage.name, workers, of.label, mark)
                about = worth(loaded, records, stage.seed)
                found.setdefault(task, {})[way] = about
                notify(f"{stage.name}: {task}, {way}: {about['share']:.1%} of {about['n']} right")
        asking.finish()
        tests = compared(found, settings.ways)
        results = {"run": of.label, "tasks": found, "tests": tests}
        write_atomic(stage.folder / RESULTS, json.dumps(results, indent=1) + "\n")
        return {"questions": {task: next(iter(ways.values()))["n"] for task, ways in found.items()}}

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Accuracy of each way with its costs, paired tests, accuracy over paths, and chains."""
        return chains_report(folder, read_json(folder / RESULTS))
