"""Recipes and overrides that somebody else wrote, or nobody meant: refused in a second, in one sentence."""

import time
from pathlib import Path

import pytest

from data_prep.contract.settings import InputError
from launch import recipe as recipes
from launch.graph import graph

BOMB = "name:\n  - &b0 [x,x]\n" + "".join(
    f"  - &b{i} [{','.join([f'*b{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
GOOD = "model: {layers: 2, hidden_size: 64, heads: 4}\n"


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "model: " + "[" * 20_000 + "]" * 20_000,
        "model: {layers: " + "9" * 5_000 + "}",
        "name: ../../x",
        "name: /etc/x",
        "name: -rf",
        "name: a/b",
        "name: 'a\\e]0;x'",
        "name: ''",
        "tracking: {experiment: ../x}",
        "tracking: {experiment: \"a\\nb\"}",
        "train: {learning_rate: .inf}",
        "train: {learning_rate: .nan}",
        "train: {learning_rate: 1.0e+300}",
        "train: {clip_gradient_norm: .inf}",
        "train: {steps: 1000000000000000000000}",
        "model: {hidden_size: 1000000000000000000000}",
        "model: {layers: 100000000}",
        "model: {max_positions: 1000000000000000000}",
        "tokenizer: {vocabulary_size: 1000000000000000000}",
        "data: {sequence_length: 1000000000000000000}",
        "stages: {../x: {kind: prep}}",
        "stages: {dataset: [kind, prep]}",
        "model: 5",
        "train: {steps: 1}\ntrain: {steps: 2}",
        "train: {steps: 1, steps: 2}",
        "seed: yes",
        "corpus: {max_bytes: on}",
        "seed: 99999999999999999999",
        "corpus: {workers: 1000000}",
        "\x00",
        "\xff",
    ],
)  # fmt: skip
def test_a_recipe_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode("latin-1"))
    begun = time.monotonic()
    with pytest.raises(InputError) as caught:
        graph(recipes.load(path), tmp_path / "work")
    said = str(caught.value)
    assert len(said) < 600
    assert said.isprintable()
    assert str(path) in said
    assert time.monotonic() - begun < 120, "the sentence is made without writing out what it is about"


@pytest.mark.parametrize(
    "override",
    [
        "name=../x",
        "train.learning_rate=.inf",
        "train.steps=[" + "[" * 5_000,
        "train.steps=\x1b[31m",
        "=3",
        "name=&a [*a]",
        "model.layers=!!python/object/apply:os.system [true]",
    ],
)
def test_an_override_is_refused_in_one_sentence(tmp_path: Path, override: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    with pytest.raises(InputError) as caught:
        recipes.load(path, [override])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_password_in_an_address_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    with pytest.raises(InputError) as caught:
        recipes.load(path, ["train.steps=https://joe:S3CRET@host/a"])
    assert "S3CRET" not in str(caught.value)
