"""The stages of a recipe, one after the other in this process, without a launcher."""

from functools import partial
from pathlib import Path
from typing import Any

import yaml

from launch import recipe as recipes
from launch.graph import Graph, graph
from pipeline.stages.training import Training
from pipeline.training.run import run


def recipe_graph(folder: Path, plain: dict[str, Any], *overrides: str) -> Graph:
    """The graph of a recipe given as plain values; its work folder is `folder`/work."""
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"tracking": {"enabled": False}} | plain))
    return graph(recipes.load(path, overrides), folder / "work")


def train(folder: Path, plain: dict[str, Any], names: list[str]) -> None:
    """Check and train some stages, or compute them."""
    for name in names:
        found = recipe_graph(folder, plain)
        stage = found.stages[name]
        kind = found.kind(stage)
        kind.check(stage)
        if not isinstance(kind, Training):
            kind.run(stage, print)
            continue
        job = kind.job(stage)
        assert run(job, partial(kind.batches, stage, job), make_task=kind.task(stage, job))
        assert kind.job(stage).is_done(), "the receipt is of the very job"
