"""A collection through its stages: what is trained on, what is held out, and how runs do on that."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_prep.contract.reading import read_json, read_jsonl
from data_prep.contract.receipt import Receipt, read_receipt, write_receipt
from data_prep.contract.report import Table
from data_prep.contract.settings import InputError
from pipeline.stages.held_out import by_cluster
from pipeline.stages.registry import kinds
from tests.pipeline import tiny
from tests.pipeline.conversion.folders import run_folder
from tests.pipeline.stages.in_process import recipe_graph

RECIPE: dict[str, Any] = {
    "model": {"layers": 1, "hidden_size": 16, "heads": 2},
    "stages": {
        "tasks": {
            "kind": "collection",
            "data": ["collection.yaml"],
            "hold_out": ["last"],
            "examples": 60,
            "cap": 40,
            "validation": 8,
        },
        "zero": {"kind": "held_out", "of": {"base": "run", "other": "run"}, "data": "tasks", "questions": 10},
    },
}
PLACES = {
    "first": (0, ["place"]),
    "second": (1, ["place"]),
    "last": (-1, ["last"]),
    "both": (0, ["place", "last"]),
}


def write_collection(folder: Path) -> None:
    """Which of four words stands where."""
    draws = random.Random(0)
    datasets = {}
    for name, (place, clusters) in PLACES.items():
        rows = []
        for _ in range(60 if name == "first" else 24):
            words = draws.sample(tiny.WORDS, 4)
            rows.append({"words": " ".join(words), "choices": words, "answer": words[place]})
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
        datasets[name] = {
            "rows": f"{name}.jsonl",
            "clusters": clusters,
            "choices": "choices",
            "answer": "answer",
            "templates": [f"{name} {{{{ words }}}}", f"{{{{ words }}}} {name}"],
        }
    (folder / "collection.yaml").write_text(yaml.safe_dump({"datasets": datasets}, sort_keys=False))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("collection")
    run = run_folder(found / "run", "gpt2")
    told: dict[str, Any] = {
        "config": {},
        "inputs": {},
        "counts": {"steps": 0},
        "seconds": 0.0,
        "versions": {},
    }
    write_receipt(run, Receipt(stage="run", kind="pretrain", fingerprint="run", **told))
    write_collection(found)
    graph = recipe_graph(found, RECIPE)
    for stage in graph.stages.values():
        graph.kind(stage).run(stage, print)
    return found / "work"


def test_nothing_of_a_held_out_cluster_is_trained_on(folder: Path) -> None:
    """By the rates: of 114 and 44 examples 40 count at most, so both have the same share of 60."""
    receipt = read_receipt(folder / "tasks")
    assert receipt is not None
    assert receipt.counts["datasets"] == {"first": 30, "second": 30}
    assert receipt.counts["held_out"] == ["last"]
    rows = [row for _, row in read_jsonl(folder / "tasks" / "train.jsonl")]
    assert {row["dataset"] for row in rows} == {"first", "second"}
    for row in rows:
        words = [word for word in row["instruction"].split() if word not in PLACES]
        assert row["output"] == words[PLACES[row["dataset"]][0]]


def test_no_row_validates_that_is_trained_on_in_other_words(folder: Path) -> None:
    asked = {}
    for name in ("train", "validation"):
        rows = [row for _, row in read_jsonl(folder / "tasks" / f"{name}.jsonl")]
        plain = [" ".join(w for w in row["instruction"].split() if w not in PLACES) for row in rows]
        asked[name] = set(zip((row["dataset"] for row in rows), plain, strict=True))
    assert asked["train"].isdisjoint(asked["validation"])
    assert asked["validation"]


def test_runs_are_asked_each_template_of_what_was_held_out(folder: Path) -> None:
    results = read_json(folder / "zero" / "held_out.json")
    assert list(results["runs"]) == ["base", "other"]
    for told in results["runs"].values():
        assert {name: one["n"] for name, one in told.items()} == {"last-0": 10, "last-1": 10}
        assert all(one["low"] <= one["value"] <= one["high"] for one in told.values())
    middle, low, high, chance = by_cluster(results, "other")["last"]
    values = sorted(one["value"] for one in results["runs"]["other"].values())
    assert middle == pytest.approx(sum(values) / 2)
    assert values[0] <= low <= middle <= high <= values[1]
    assert chance == 0.25


@pytest.mark.parametrize("name", ["tasks", "zero"])
def test_each_has_its_part_of_the_report(folder: Path, name: str) -> None:
    receipt = read_receipt(folder / name)
    assert receipt is not None
    told = kinds()[receipt.kind].report(folder / name, receipt)
    tables = [part for section in told.sections for part in section.parts if isinstance(part, Table)]
    assert tables
    assert all(len(row) == len(table.head) for table in tables for row in table.rows)


def test_a_changed_row_makes_a_collection_stale(folder: Path) -> None:
    graph = recipe_graph(folder.parent, RECIPE)
    stage = graph.stages["tasks"]
    assert graph.kind(stage).is_done(stage)
    path = folder.parent / "second.jsonl"
    before = path.read_text()
    path.write_text(before + before.splitlines()[0] + "\n")
    assert not graph.kind(stage).is_done(stage)
    path.write_text(before)


@pytest.mark.parametrize(
    ("override", "name", "said"),
    [
        (
            "stages.tasks.hold_out=[x]",
            "tasks",
            r"tasks\.hold_out: no dataset is of the cluster x; there is last",
        ),
        ("stages.tasks.hold_out=[place, last]", "tasks", "leaves no dataset to train on"),
        ("stages.zero.data=nothing", "zero", "no stage and no path is called nothing"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder: Path, override: str, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        tried(folder, override, name)


def tried(folder: Path, override: str, name: str) -> None:
    """What a command does to compute a stage."""
    graph = recipe_graph(folder.parent, RECIPE, override)
    graph.kind(graph.stages[name]).compute(graph.stages[name], print)
