"""Two sources, prepared apart with one tokenizer, mixed when a model trains on them."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from data_prep.contract.dataset import TOKENIZER, Dataset
from data_prep.storage import Storage
from launch.show import trace
from tests.data_prep.helpers import prep_config, prepare_in, story, write_jsonl

RECIPE = """
corpus: {kind: jsonl, paths: [web.jsonl]}
model: {layers: 1, hidden_size: 32, heads: 2}
data: {sequence_length: 32, mixture: [{dataset: verse/dataset, weight: 3}]}
train: {steps: 4, global_batch: 8, micro_batch: 8, warmup_steps: 1, validation_samples: 8}
tracking: {enabled: false}
"""


def verse(seed: int) -> str:
    return "".join(f"Line {seed + number} of verse, and rhyme it not.\n" for number in range(40))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe beside two datasets; the second has the tokenizer of the first."""
    write_jsonl(tmp_path / "web.jsonl", [story(number, 200) for number in range(60)])
    write_jsonl(tmp_path / "verse.jsonl", [verse(100 * number) for number in range(60)])
    model = tmp_path / "work" / "dataset" / TOKENIZER
    prepare_in(Storage(model.parent), prep_config([tmp_path / "web.jsonl"]))
    apart = prep_config([tmp_path / "verse.jsonl"], tokenizer={"model": str(model)})
    prepare_in(Storage(tmp_path / "verse" / "dataset"), apart)
    (tmp_path / "mixed.yaml").write_text(RECIPE)
    return tmp_path / "mixed.yaml"


def test_a_model_trains_on_both_by_their_weights(recipe: Path) -> None:
    work, verses = recipe.parent / "work", recipe.parent / "verse" / "dataset"
    one, other = Dataset(work / "dataset").manifest, Dataset(verses).manifest
    assert one.tokenizer_sha256 == other.tokenizer_sha256
    command = ["from launch.cli import main; main()", "train", str(recipe), "--work", str(work)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, "-c", *command], env=environment, timeout=900, check=False)
    assert ended.returncode == 0
    shares: Counter[bool] = Counter()
    for step in (1, 4):
        for sample in trace(work / "pretrain", step)["samples"]:
            text = " ".join(excerpt["text"] for excerpt in sample["excerpts"])
            assert ("rhyme" in text or "verse" in text) == (sample["dataset"] == str(verses))
            shares[sample["dataset"] == str(verses)] += 1
    assert shares == {False: 4, True: 12}
