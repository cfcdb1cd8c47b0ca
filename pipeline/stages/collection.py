"""The kind of stage that makes instructions out of many datasets in the words of several templates.

tasks: {kind: collection, data: [collection.yaml], hold_out: [sense], examples: 20000}
tuned: {kind: instruct, from: base, data: tasks}
zero:  {kind: held_out, of: [base, tuned], data: tasks}

Beside the conversations it writes the datasets that nothing was trained on as a suite in `held_out/`.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import Field, PositiveFloat, PositiveInt

from data_prep.contract.receipt import Receipt, file_hash, write_atomic
from data_prep.contract.report import Headline, Section, StageReport, Table
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.stages import FILES, Input, Kind, Notify, Stage
from pipeline.evaluation.collections.mixing import drawn, mixing_rates, seen, unseen
from pipeline.evaluation.collections.reading import Collected, read_collection
from pipeline.evaluation.tasks.rows import read_rows
from pipeline.stages.files import CONVERSATIONS, TRAIN, VALIDATION, write_rows

SUITE = "held_out"
"""The folder of the tasks that were held out."""
CLUSTERS = "clusters.json"
"""The clusters of each of their datasets."""
EVERY = 20
"""One of so many rows of each dataset validates."""


class CollectionConfig(Settings):
    hold_out: list[str] = Field(default_factory=list)
    """Clusters of which nothing is trained on: datasets that have any of them are left out."""
    clusters: PositiveInt | None = None
    """Train on the first so many other clusters alone; null takes all."""
    cap: PositiveInt = 3000
    """Examples that count of a dataset at most, where it is said how much of each is drawn."""
    temperature: PositiveFloat = 1.0
    """Above 1, rates are nearer to one another: rate^(1 / temperature)."""
    examples: PositiveInt = 20_000
    """Instructions to train on in all."""
    validation: PositiveInt = 256
    """Most instructions that validate."""


class Collection(Kind):
    """`collection`: a mixture of datasets as instructions, and those that are held out as tasks."""

    name, gives = "collection", CONVERSATIONS
    inputs = (Input("data", (FILES,), many=True),)
    settings = CollectionConfig
    artifacts = (TRAIN, VALIDATION)

    def read(self, stage: Stage) -> dict[str, str]:
        """The collections' files and all their rows."""
        return super().read(stage) | {f"rows of {one.name}": file_hash(one.rows) for one in collected(stage)}

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Draw and write both."""
        settings = stage.settings
        assert isinstance(settings, CollectionConfig)
        found = {one.name: one for one in collected(stage)}
        clusters = {name: one.config.clusters for name, one in found.items()}
        known = {cluster for some in clusters.values() for cluster in some}
        if missing := sorted(set(settings.hold_out) - known):
            raise InputError(
                f"{stage.name}.hold_out: no dataset is of the cluster {missing[0]}; there is "
                f"{', '.join(sorted(known))}"
            )
        names = seen(clusters, settings.hold_out, settings.clusters)
        if not names:
            raise InputError(f"{stage.name}.hold_out leaves no dataset to train on")
        made = mixed(stage, {name: found[name].examples for name in names}, settings)
        counts: dict[str, Any] = write_rows(stage.folder, made)
        counts["datasets"] = {name: sum(one["dataset"] == name for one in made[TRAIN]) for name in names}
        asked = [found[name] for name in unseen(clusters, names)]
        counts["held_out"] = write_suite(stage.folder, asked)
        notify(
            f"{stage.name}: {counts['train']:,} instructions of {len(names)} datasets, {len(asked)} held out"
        )
        return counts

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """How much of each dataset is trained on."""
        rows = [[name, f"{count:,}"] for name, count in receipt.counts["datasets"].items()]
        rows += [[name, "held out"] for name in receipt.counts["held_out"]]
        headline = Headline("instructions", f"{receipt.counts['train']:,}", folder.name)
        table = Table(["dataset", "instructions"], rows, frozenset({1}))
        return StageReport([headline], [Section("Collection", [table])])


def collected(stage: Stage) -> list[Collected]:
    """The datasets of all files. `InputError` where two have one name."""
    found = [one for source in stage.inputs["data"] for one in read_collection(source.path)]
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{stage.name}.data: two datasets are called {name}")
    return found


def mixed(
    stage: Stage, rows: dict[str, list[list[tuple[str, str]]]], settings: CollectionConfig
) -> dict[str, list[dict[str, str]]]:
    """What is trained on and what validates, by the rates, each from rows of its own and in a drawn order."""
    train = {name: [one for n, one in enumerate(some) if n % EVERY] for name, some in rows.items()}
    validation = {name: some[::EVERY] for name, some in rows.items()}
    made = {}
    for number, (split, parts) in enumerate({TRAIN: train, VALIDATION: validation}.items()):
        pools = {name: [one for row in some for one in row] for name, some in parts.items()}
        sizes = {name: len(pool) for name, pool in pools.items() if pool}
        if not sizes:
            raise InputError(f"{stage.name}: the datasets to train on have one row each; two are needed")
        count = settings.examples if split == TRAIN else min(settings.validation, sum(sizes.values()))
        rates = mixing_rates(sizes, settings.cap, settings.temperature)
        chosen = drawn(sizes, rates, count, stage.seed + number)
        plain = [row(name, *pools[name][place]) for name, some in chosen.items() for place in some]
        order = np.random.default_rng([stage.seed, number]).permutation(len(plain))
        made[split] = [plain[place] for place in order]
    return made


def row(dataset: str, instruction: str, answer: str) -> dict[str, str]:
    """As files of instructions have it, with where it comes from."""
    return {"instruction": instruction, "input": "", "output": answer, "dataset": dataset}


def write_suite(folder: Path, asked: list[Collected]) -> list[str]:
    """A task file for each template with choices, its rows beside it; returns the datasets' names."""
    ranked, place = [one for one in asked if one.config.choices is not None], folder / SUITE
    shutil.rmtree(place, ignore_errors=True)
    (folder / CLUSTERS).unlink(missing_ok=True)
    if not ranked:
        return []
    place.mkdir()
    for one in ranked:
        lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in read_rows(one.rows))
        write_atomic(place / f"{one.name}.jsonl", "".join(lines))
        for phrased in one.phrased:
            plain = phrased.task.model_dump(mode="json", exclude_defaults=True)
            plain["rows"] = f"{one.name}.jsonl"
            write_atomic(place / f"{phrased.task.task}.yaml", yaml.safe_dump(plain, allow_unicode=True))
    clusters = {phrased.task.task: one.config.clusters for one in ranked for phrased in one.phrased}
    write_atomic(folder / CLUSTERS, json.dumps(clusters, indent=1) + "\n")
    return [one.name for one in ranked]
