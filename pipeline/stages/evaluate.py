"""The kind of stage that measures: trained models and a dataset to figures, samples and their report."""

import json
from pathlib import Path
from typing import Any

from data_prep.contract.lock import locked, reading
from data_prep.contract.reading import read_json, read_jsonl
from data_prep.contract.receipt import Receipt, read_receipt, write_atomic
from data_prep.contract.report import StageReport
from data_prep.contract.settings import InputError
from data_prep.contract.stages import DATASET, RUN, Input, Kind, Notify, Stage
from pipeline.config import EvalConfig, EvaluationConfig
from pipeline.evaluation.evaluate import RESULTS, SAMPLES, evaluate, inputs_of, wanted
from pipeline.reports.measured import evaluation_report
from pipeline.stages.training import find_dataset

TABLE = "prompts_and_answers.json"


class Evaluate(Kind):
    """`evaluate`: what the recipe's `eval` section asks, of every run that has ended."""

    name, gives, section, inherits = "evaluate", "evaluation", "eval", "of"
    inputs = (Input("of", (RUN,), many=True), Input("data", (DATASET,)))
    sections = ("model", "objective", "data", "tracking")
    inherited = ("model", "objective", "data")
    settings = EvalConfig
    artifacts, tables = (RESULTS, SAMPLES, TABLE), (TABLE,)

    def fingerprint(self, stage: Stage) -> str:
        """Of the questions, the dataset, the suites and the runs."""
        config = config_of(stage)
        return wanted(config, inputs_of(config, find_dataset(stage), runs_of(stage)))

    def run(self, stage: Stage, notify: Notify) -> Receipt:
        """Measure every run."""
        data = find_dataset(stage)
        with locked(stage.folder, "evaluating"), reading(data.folder, "evaluating on what is"):
            receipt = evaluate(config_of(stage), data.folder, runs_of(stage), stage.folder, notify)
            write_table(stage.folder)
        return receipt

    def config(self, stage: Stage) -> dict[str, Any]:
        """The questions."""
        return stage.settings.model_dump(mode="json")

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Held-out text, multiple choice, blanks and generations."""
        results = read_json(folder / RESULTS)
        return evaluation_report(folder, results, [line for _, line in read_jsonl(folder / SAMPLES)])


def config_of(stage: Stage) -> EvaluationConfig:
    """The stage's sections as the evaluation takes them."""
    sections = dict(stage.sections)
    return EvaluationConfig(name=stage.recipe, seed=stage.seed, eval=stage.settings, **sections)


def runs_of(stage: Stage) -> dict[str, Path]:
    """The runs that have ended, by the name they are shown under. `InputError` where there are none."""
    sources = stage.inputs["of"]
    found = {one.label: one.path for one in sources if not one.stage or read_receipt(one.path)}
    if not found:
        raise InputError(f"{sources[0].place}: no finished training; run `bloomery train` first")
    return found


def write_table(folder: Path) -> None:
    """The samples in the form that MLflow shows as a table."""
    rows = [line for _, line in read_jsonl(folder / SAMPLES)]
    models = list(rows[0]["answers"]) if rows else []
    table = {
        "columns": ["prompt", *models, "reference", "source"],
        "data": [
            [row["prompt"], *(row["answers"][name] for name in models), row["reference"], row["source"]]
            for row in rows
        ],
    }
    write_atomic(folder / TABLE, json.dumps(table, ensure_ascii=False))
