"""A recipe's stages: their order, what they read, what they inherit, and what is wrong in one sentence."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

from data_prep.contract.settings import InputError
from launch import recipe as recipes
from launch.graph import Graph, graph

SMALL = """
name: mine
model: {layers: 2, hidden_size: 64, heads: 4}
data: {sequence_length: 64}
train: {steps: 5, learning_rate: 0.01}
"""
STAGES = """
stages:
  report: {kind: evaluate, of: [chat, base]}
  chat: {kind: instruct, from: base, data: [pairs.jsonl], steps: 3}
  base: {kind: pretrain, data: dataset, steps: 7, model: {layers: 3}}
  dataset: {kind: prep}
"""


def made(folder: Path, text: str, *overrides: str) -> Graph:
    path = folder / "mine.yaml"
    path.write_text(SMALL + textwrap.dedent(text))
    return graph(recipes.load(path, overrides), folder / "work")


def settings(found: Graph, name: str) -> Any:
    return found.stages[name].settings


def model(found: Graph, name: str) -> Any:
    return found.stages[name].sections["model"]


def test_each_stage_comes_after_what_it_reads(tmp_path: Path) -> None:
    found = made(tmp_path, STAGES)
    assert list(found.stages) == ["dataset", "base", "chat", "report"]
    assert {name: stage.needs() for name, stage in found.stages.items()} == {
        "dataset": [],
        "base": ["dataset"],
        "chat": ["base"],
        "report": ["chat", "base", "dataset"],  # the one dataset there is need not be named
    }
    assert found.stages["chat"].source("data").path == tmp_path / "pairs.jsonl"  # type: ignore[union-attr]


def test_a_stages_keys_lie_over_the_recipes_sections_and_a_run_says_what_is_left_out(tmp_path: Path) -> None:
    found = made(tmp_path, STAGES)
    assert (settings(found, "base").steps, settings(found, "base").learning_rate) == (7, 0.01)
    assert (settings(found, "chat").steps, settings(found, "chat").learning_rate) == (3, 0.001)
    assert [model(found, name).layers for name in ("base", "chat", "report")] == [3, 3, 3]
    assert made(tmp_path, STAGES, "stages.base.steps=9").stages["base"].settings.steps == 9  # type: ignore[attr-defined]
    other = made(tmp_path, STAGES, "stages.base.data={from: dataset, sequence_length: 32}")
    assert other.stages["base"].sections["data"].sequence_length == 32  # type: ignore[attr-defined]
    assert other.stages["chat"].sections["data"].sequence_length == 64  # type: ignore[attr-defined]


def test_named_stages_are_run_with_what_they_need(tmp_path: Path) -> None:
    found = made(tmp_path, STAGES)
    assert [stage.name for stage in found.with_needs(["chat"])] == ["dataset", "base", "chat"]
    assert [stage.name for stage in found.with_needs()] == ["dataset", "base", "chat", "report"]
    with pytest.raises(InputError, match="no stage is called chatt; did you mean chat"):
        found.with_needs(["chatt"])


def test_a_recipe_without_stages_means_the_usual_four(tmp_path: Path) -> None:
    found = made(tmp_path, "")
    assert {name: stage.kind for name, stage in found.stages.items()} == {
        "dataset": "prep",
        "pretrain": "pretrain",
        "tune": "instruct",
        "eval": "evaluate",
    }
    assert [stage.name for stage in made(tmp_path, "tune: {enabled: false}").with_needs()] == [
        "dataset",
        "pretrain",
        "eval",
    ]
    encoder = made(tmp_path, "", "model.architecture=encoder", "objective.kind=masked_lm")
    assert [stage.name for stage in encoder.with_needs()] == ["dataset", "pretrain", "eval"]


def test_several_stages_of_a_kind_and_seeds_of_their_own(tmp_path: Path) -> None:
    text = """
    stages:
      dataset: {kind: prep}
      one: {kind: pretrain}
      two: {kind: pretrain, seed: 7}
      warm: {kind: pretrain, from: one, learning_rate: 0.001}
    """
    found = made(tmp_path, text)
    assert [stage.name for stage in found.of_kind("pretrain")] == ["one", "two", "warm"]
    assert [found.stages[name].seed for name in ("one", "two", "warm")] == [1234, 7, 1234]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (
            "a: {kind: pretrain, from: b}\n  b: {kind: pretrain, from: a}\n  d: {kind: prep}",
            "a -> b -> a is a circle",
        ),
        (
            "a: {kind: pretrane, data: d}\n  d: {kind: prep}",
            "no kind of stage is called pretrane; did you mean pretrain",
        ),
        ("a: {kind: [prep], data: d}\n  b: {kind: pretrain}", "no kind of stage is called ['prep']"),
        ("a: {data: d}\n  d: {kind: prep}", "stages.a.kind is missing; one of prep, "),
        ("a: {kind: pretrain}", "stages.a.data is missing; a dataset is expected"),
        (
            "a: {kind: pretrain, data: dd}\n  d: {kind: prep}",
            "no stage and no path is called dd; did you mean d",
        ),
        (
            "d: {kind: prep}\n  a: {kind: pretrain}\n  b: {kind: pretrain, data: a}",
            "stages.b.data: the stage a gives a run; a dataset is expected",
        ),
        (
            "d: {kind: prep}\n  a: {kind: instruct, from: d}",
            "stages.a.from: the stage d gives a dataset; a run is expected",
        ),
        (
            "d: {kind: prep}\n  a: {kind: pretrain, steps: many}",
            "stages.a.steps is 'many'; it should be a valid integer",
        ),
        (
            "d: {kind: prep}\n  a: {kind: pretrain, stepz: 3}",
            "stages.a.stepz: no such key; did you mean stages.a.steps",
        ),
        (
            "d: {kind: prep}\n  a: {kind: pretrain, model: {heads: 3}}",
            "hidden_size 64 is not divisible by heads 3",
        ),
        ("d: {kind: prep}\n  ../x: {kind: pretrain}", "stages.../x: letters, digits, _ and - make the name"),
        ("d: {kind: prep}\n  a: {kind: pretrain, from: [b, c]}", "stages.a.from names 2; a run is expected"),
        ("d: {kind: prep}\n  a: 5", "stages.a is 5"),
        (
            "d: {kind: prep}\n  a: {kind: pretrain, parallel: {tensor: 3}}",
            "model.heads 4 is not divisible by parallel.tensor 3",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, stages: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        made(tmp_path, f"stages:\n  {stages}\n")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "mine.yaml" in str(caught.value)
