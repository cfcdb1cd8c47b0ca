"""Collections: how much of each dataset is drawn, what is unseen, and how a file of them is read."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_prep.contract.settings import InputError
from pipeline.evaluation.collections.mixing import drawn, mixing_rates, seen, shares, unseen
from pipeline.evaluation.collections.reading import read_collection

CLUSTERS = {"boolq": ["reading"], "cosmos": ["reading", "sense"], "copa": ["sense"], "rte": ["inference"]}


def test_rates_are_proportional_up_to_the_cap() -> None:
    """And nearer to one another at a higher temperature: T = 2 takes square roots."""
    sizes = {"a": 100, "b": 2500, "c": 900_000}
    assert mixing_rates(sizes, 2500) == {"a": 100 / 5100, "b": 2500 / 5100, "c": 2500 / 5100}
    assert mixing_rates(sizes, 2500, 2.0) == {"a": 10 / 110, "b": 50 / 110, "c": 50 / 110}


def test_a_dataset_of_two_clusters_is_neither_trained_on_nor_unseen() -> None:
    """Where one of them is held out: trained on it would show the other, and its other is trained on."""
    trained = seen(CLUSTERS, ["sense"])
    assert trained == ["boolq", "rte"]
    assert unseen(CLUSTERS, trained) == ["copa"]


def test_fewer_clusters_are_the_first_ones() -> None:
    assert seen(CLUSTERS, ["sense"], 1) == ["boolq"]
    assert unseen(CLUSTERS, ["boolq"]) == ["copa", "rte"]


def test_every_example_is_drawn_before_any_comes_again() -> None:
    found = drawn({"a": 5, "b": 100}, {"a": 0.5, "b": 0.5}, 24, seed=3)
    assert sorted(found["a"][:5]) == sorted(found["a"][5:10]) == list(range(5))
    assert len(set(found["b"])) == len(found["b"]) == 12
    again = drawn({"a": 5, "b": 100}, {"a": 0.5, "b": 0.5}, 24, seed=3)
    assert all((found[name] == again[name]).all() for name in found)


@pytest.mark.parametrize("count", range(12))
def test_shares_have_the_sum(count: int) -> None:
    found = shares({"a": 0.61, "b": 0.3, "c": 0.09}, count)
    assert sum(found.values()) == count
    assert all(abs(found[name] - rate * count) < 1 for name, rate in (("a", 0.61), ("b", 0.3), ("c", 0.09)))


def written(folder: Path, **changed: Any) -> Path:
    rows = [{"words": "red blue", "gold": 0}, {"words": "blue red", "gold": 1}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    dataset = {
        "rows": "rows.jsonl",
        "clusters": ["first"],
        "choices": ["red", "blue"],
        "answer": "gold",
        "templates": ["First of {{ words }}?", "{{ words }}: {{ words.split() | join(' or ') }}?"],
    } | changed
    path = folder / "collection.yaml"
    path.write_text(yaml.safe_dump({"datasets": {"colours": dataset}}))
    return path


def test_each_template_is_a_task_and_a_row_is_asked_in_the_words_of_each(tmp_path: Path) -> None:
    [found] = read_collection(written(tmp_path))
    assert [one.task.task for one in found.phrased] == ["colours-0", "colours-1"]
    assert found.examples == [
        [("First of red blue?", "red"), ("red blue: red or blue?", "red")],
        [("First of blue red?", "blue"), ("blue red: blue or red?", "blue")],
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rows": "none.jsonl"}, r"datasets\.colours\.rows: .*none\.jsonl: no such file"),
        ({"templates": []}, r"datasets\.colours\.templates: List should have at least 1 item"),
        ({"templates": ["{{"]}, r"datasets\.colours: the template '\{\{' is not Jinja"),
        ({"templates": ["{{ nothing }}"]}, r"no row of 2 can be asked; 2 of them: missing column"),
        ({"answer": "7"}, "no right answer among the choices"),
        ({"colour": 1}, r"datasets\.colours\.colour: Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(tmp_path: Path, changed: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_collection(written(tmp_path, **changed))
