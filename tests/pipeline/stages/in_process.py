"""The stages of a recipe, one after the other in this process, without a launcher."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from data_prep.contract.receipt import write_atomic
from launch import recipe as recipes
from launch.graph import Graph, graph
from pipeline.stages.training import Training
from pipeline.training.run import run


def recipe_graph(folder: Path, plain: dict[str, Any], *overrides: str, work: str = "work") -> Graph:
    """The graph of a recipe given as plain values; its work folder is `folder`/`work`."""
    path = folder / "mine.yaml"
    write_atomic(path, yaml.safe_dump({"tracking": {"enabled": False}} | plain))
    return graph(recipes.load(path, overrides), folder / work)


def train(folder: Path, plain: dict[str, Any], names: list[str], *overrides: str, work: str = "work") -> None:
    """Check and train some stages, or compute them; all of a world's processes call this."""
    port = int(os.environ["MASTER_PORT"])
    for number, name in enumerate(names):
        os.environ["MASTER_PORT"] = str(port + number)  # the last one may not be free yet
        found = recipe_graph(folder, plain, *overrides, work=work)
        stage = found.stages[name]
        kind = found.kind(stage)
        kind.check(stage)
        if not isinstance(kind, Training):
            kind.run(stage, print)
            continue
        job = kind.job(stage)
        assert run(job, partial(kind.batches, stage, job), make_task=kind.task(stage, job))
        assert kind.job(stage).is_done(), "the receipt is of the very job"
