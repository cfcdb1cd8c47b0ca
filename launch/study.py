"""A recipe's study as stages: its dataset, its trainings, the forecast of the largest, the laws of them all.

dataset    prep        the recipe's corpus, where the study names no dataset
2x64-1e12  cell        a training for each size and budget
forecast   scaling     what the smaller ones say of the largest
4x96-3e13  cell        the largest
law        scaling     every form fitted to all of them, and how far the forecast was off
emergence  emergence   what all of them score, all or nothing and token by token
attention  attention   who looks at whom in the last one
"""

from pathlib import Path
from typing import Any

from data_prep.contract.dataset import Dataset
from data_prep.contract.report import Cell as ReportCell
from data_prep.contract.report import Table, short
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from launch.recipe import Recipe
from pipeline.scaling.grid import Base, Cell, grid, stage_keys

DATASET, FORECAST, LAW, EMERGENCE, ATTENTION = "dataset", "forecast", "law", "emergence", "attention"


def study_stages(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The stages of a recipe with a study, as if the recipe had named them."""
    base = base_of(recipe)
    cells = grid(base)
    data = base.study.data or DATASET
    stages: dict[str, dict[str, Any]] = {} if base.study.data else {DATASET: {"kind": "prep"}}
    smaller = [one for one in cells if not one.held_out]
    stages |= {one.name: training(one, base, data) for one in smaller}
    law = {"kind": "scaling", "data": data, "resamples": base.study.resamples}
    law |= {
        "of": [one.name for one in cells],
        "budgets": sorted({one.flops for one in cells if one.held_out}),
    }
    if len(smaller) < len(cells):
        wanted = {one.name: dict(one.columns) for one in cells if one.held_out}
        stages[FORECAST] = law | {"of": [one.name for one in smaller], "predict": wanted}
        stages |= {one.name: training(one, base, data) for one in cells if one.held_out}
        law["forecast"] = FORECAST
    shown = {"kind": "attention", "of": [cells[-1].name], "data": data}
    scored = {"kind": "emergence", "of": [one.name for one in cells], "data": data}
    return stages | {LAW: law, EMERGENCE: scored, ATTENTION: shown}


def training(one: Cell, base: Base, data: str) -> dict[str, Any]:
    """The stage of one training."""
    return {"kind": "cell", "data": data, **stage_keys(one, base)}


def base_of(recipe: Recipe) -> Base:
    """What all trainings of a recipe's study share. `InputError` where it has no study, or stages as well."""
    if recipe.study is None:
        raise InputError(
            f"{recipe.path}: no section study, which `bloomery scale RECIPE` trains; or give --table"
        )
    if recipe.stages:
        raise InputError(f"{recipe.path}: both study and stages; a study makes its own, so leave one out")
    return Base(
        recipe.study, recipe.model, recipe.objective, recipe.data, recipe.train, pieces(recipe), recipe.seed
    )


def pieces(recipe: Recipe) -> int:
    """Size of the vocabulary, as far as it is known before a tokenizer is trained."""
    study = recipe.study
    assert study is not None
    if study.data and "://" not in study.data:
        return Dataset(Path(study.data)).manifest.vocabulary_size
    if recipe.tokenizer.model is not None:
        return Vocabulary(recipe.tokenizer.model).size
    return recipe.tokenizer.vocabulary_size


def plan_table(cells: list[Cell], seconds: dict[str, float]) -> Table:
    """The trainings with what they cost."""
    rows: list[list[ReportCell]] = [
        [
            one.name,
            f"{one.parameters:,}",
            f"{one.non_embedding:,}",
            short(one.tokens),
            f"{one.tokens / one.parameters:.1f}",
            f"{one.flops:.3g}",
            f"{one.steps:,} x {one.batch}",
            f"{one.learning_rate:.2e}",
            f"{seconds[one.name]:,.0f}",
            "predicted first" if one.held_out else "",
        ]
        for one in cells
    ]
    head = ["run", "parameters", "non-embedding", "tokens", "a parameter", "FLOPs"]
    head += ["steps x batch", "rate", "seconds", ""]
    return Table(head, rows, frozenset(range(1, 9)))
