"""The kind of stage that shows how scores come in with scale: models of a study to two scores of one answer.

emergence: {kind: emergence, of: [2x64-1e12, 3x80-1e12, ...]}
"""

import json
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from data_prep.contract.lock import reading
from data_prep.contract.reading import read_json
from data_prep.contract.receipt import Receipt, write_atomic
from data_prep.contract.report import Cell, Line, Lines, Section, StageReport, Table, Text
from data_prep.contract.settings import Settings
from data_prep.contract.stages import DATASET, RUN, Input, Kind, Notify, Stage
from pipeline.checkpoints.run_folder import read_config
from pipeline.evaluation.evaluate import check_tokens
from pipeline.evaluation.intervals import wilson
from pipeline.scaling.measured import measure
from pipeline.stages.training import find_dataset

SCORES = "scores.json"


class EmergenceConfig(Settings):
    validation_tokens: PositiveInt = 16_384
    """About how many held-out tokens every model is asked for."""
    answers: list[PositiveInt] = Field(default_factory=lambda: [1, 2, 4, 8], min_length=1)
    """Tokens in a row that make an answer, which is right where all of them are."""


class Emergence(Kind):
    """`emergence`: of models of several sizes an all-or-nothing and a smooth score, side by side."""

    name, gives, settings = "emergence", "scores", EmergenceConfig
    inputs = (Input("of", (RUN,), many=True), Input("data", (DATASET,)))
    artifacts, libraries = (SCORES,), ("torch",)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Ask every model for the same tokens."""
        from pipeline.evaluation.emergence import scores
        from pipeline.evaluation.hidden import samples
        from pipeline.generation.load import load_model

        settings, data = stage.settings, find_dataset(stage)
        assert isinstance(settings, EmergenceConfig)
        found: list[dict[str, Any]] = []
        with reading(data.folder, "scoring on what is"):
            for source in stage.inputs["of"]:
                batches, _ = samples(read_config(source.path), data, "validation", settings.validation_tokens)
                run, model = measure(source.label, source.path), load_model(source.path)
                check_tokens(model, data, source.path)
                scored = scores(model, batches, settings.answers)
                exact = [vars(one) | {"share": one.share} for one in scored.exact]
                found.append(
                    {
                        "run": source.label,
                        "parameters": run.parameters,
                        "flops": run.last.flops,
                        "loss": scored.loss,
                        "exact": exact,
                    }
                )
                shares = ", ".join(f"{one.tokens} in a row {one.share:.1%}" for one in scored.exact)
                notify(f"{stage.name}: {source.label}, loss {scored.loss:.4f}, {shares}")
        write_atomic(stage.folder / SCORES, json.dumps(found, indent=1) + "\n")
        return {"models": len(found), "answers": {one["tokens"]: one["answers"] for one in found[0]["exact"]}}

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Both scores over compute, and all of them as a table."""
        found = read_json(folder / SCORES)
        lengths = [one["tokens"] for one in found[0]["exact"]]
        rows: list[list[Cell]] = [
            [
                one["run"],
                f"{one['flops']:.3g}",
                f"{one['loss']:.4f}",
                *(f"{score['share']:.1%}" for score in one["exact"]),
            ]
            for one in sorted(found, key=lambda one: one["flops"])
        ]
        head = ["run", "FLOPs", "loss", *(f"{length} right in a row" for length in lengths)]
        most = min(score["answers"] for score in found[0]["exact"])
        words = (
            "One answer, two scores: all of its tokens have to be right, or each counts by its likelihood. "
            f"Drawn are the models that none of less compute equals in loss. Of {most} answers nothing "
            f"under {1 / most:.2g} can be seen."
        )
        charts = [all_or_nothing(folder.name, found, lengths), smooth(folder.name, found)]
        table = Table(head, rows, frozenset(range(1, len(head))))
        return StageReport(sections=[Section("Emergence", [Text(words), *charts, table])])


def frontier(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The models that no model of less or equal compute equals in loss, the least compute first."""
    best: list[dict[str, Any]] = []
    for one in sorted(found, key=lambda one: (one["flops"], one["loss"])):
        if not best or one["loss"] < best[-1]["loss"]:
            best.append(one)
    return best


def all_or_nothing(name: str, found: list[dict[str, Any]], lengths: list[int]) -> Lines:
    """Share of answers that are right as a whole, over compute."""
    best = frontier(found)
    lines = []
    for place, length in enumerate(lengths):
        scored = [one["exact"][place] for one in best]
        bounds = [wilson(one["right"], one["answers"]) for one in scored]
        lines.append(
            Line(
                f"{length} in a row" if length > 1 else "1 token",
                [one["flops"] for one in best],
                [one["share"] for one in scored],
                [low for low, _ in bounds],
                [high for _, high in bounds],
            )
        )
    return Lines(f"{name}_all_or_nothing", "training FLOPs", "right answers (share)", lines, log_x=True)


def smooth(name: str, found: list[dict[str, Any]]) -> Lines:
    """Mean log-likelihood of the answers' tokens, over compute."""
    best = frontier(found)
    line = Line("ln p of a token", [one["flops"] for one in best], [-one["loss"] for one in best])
    return Lines(
        f"{name}_smooth", "training FLOPs", "mean log-likelihood (nats per token)", [line], log_x=True
    )
