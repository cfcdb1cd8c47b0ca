"""A small T5 and a small BERT through `bloomery run`, on one corpus whose dataset is made once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from launch.cli import app
from tests.pipeline import tiny

OPTIMIZER = {
    "steps": 6,
    "global_batch": 4,
    "micro_batch": 2,
    "warmup_steps": 1,
    "validation_samples": 8,
    "validate_every": 6,
    "checkpoint_every": 6,
}
SAME: dict[str, Any] = {
    "corpus": {"kind": "text", "paths": ["texts"], "validation_share": 0.3, "document_bytes": 2000},
    "tokenizer": {"kind": "bpe", "vocabulary_size": 480},
    "data": {"sequence_length": 32},
    "train": OPTIMIZER,
    "eval": {"questions": 4, "shots": [0, 1], "generated_tokens": 8, "validation_tokens": 400},
    "tracking": {"enabled": False},
}
SIZE = {"layers": 1, "hidden_size": 32, "heads": 2}
RECIPES: dict[str, dict[str, Any]] = {
    "t5": {
        "model": {"preset": "t5-1.1-tiny", **SIZE},
        "objective": {"kind": "span_corruption"},
        "tune": OPTIMIZER | {"data": ["pairs.jsonl"]},
    },
    "bert": {
        "model": {"preset": "bert-tiny", **SIZE},
        "objective": {"kind": "masked_lm", "masking": "whole_word"},
    },
}


def bloomery(*arguments: str) -> str:
    """Run a command to its end; returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-c", "from launch.cli import main; main()", *arguments]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=900, env=environment | {"OMP_NUM_THREADS": "1"}
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def inspected(*arguments: str) -> dict[str, Any]:
    """What `bloomery inspect` shows, in this process."""
    shown = CliRunner().invoke(app, ["inspect", *arguments, "--json"])
    found: dict[str, Any] = json.loads(shown.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], str]:
    """The work folder of each recipe, one run after the other, and what the last of them printed."""
    folder = tmp_path_factory.mktemp("families")
    (folder / "texts").mkdir()
    for seed in range(30):
        (folder / "texts" / f"{seed}.txt").write_text("\n\n".join(tiny.sentences(30, seed)))
    rows = [{"instruction": f"Say {word}.", "output": word} for word in ("red", "green", "blue", "two")]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in 4 * rows))
    printed = ""
    for name, recipe in RECIPES.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(SAME | recipe))
        printed = bloomery("run", str(folder / f"{name}.yaml"), "--work", str(folder / name))
    return {name: folder / name for name in RECIPES}, printed


def results(work: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work / "eval" / "results.json").read_text())
    return found


def samples(work: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (work / "eval" / "samples.jsonl").read_text().splitlines()]


def test_the_second_recipe_takes_the_dataset_of_the_first(works: tuple[dict[str, Path], str]) -> None:
    folders, printed = works
    assert f"prep: {folders['t5'].resolve() / 'dataset'} is this very dataset; taken from there" in printed
    manifests = {(work / "dataset" / "manifest.json").read_bytes() for work in folders.values()}
    assert len(manifests) == 1


def test_an_encoder_decoder_is_pretrained_tuned_and_measured(works: tuple[dict[str, Path], str]) -> None:
    work = works[0]["t5"]
    found = results(work)
    assert list(found["runs"]) == ["pretrained", "tuned"]
    assert [run["tuned"] for run in found["runs"].values()] == [False, True]
    for run in (found["validation"]["unigram"], *(run["validation"] for run in found["runs"].values())):
        assert 1 < run["loss"] < 8
    for run in found["runs"].values():
        exam = run["suites"]["exam"]  # these texts are too plain for more of it
        assert {name: [one["shots"] for one in asked] for name, asked in exam.items()} == {
            "continuation": [0]
        }
    texts = [one for one in samples(work) if one["blanks"]]
    assert texts
    for one in texts:
        assert "<extra_id_0>" in one["prompt"]
        assert "«" in one["reference"]
        assert all("«" in answer for answer in one["answers"].values())
    report = (work / "report.html").read_text()
    assert "Encoder-decoder, trained by span_corruption: 15 % of the tokens hidden" in report
    assert "<mark>&lt;extra_id_0&gt;</mark>" in report
    receipt = json.loads((work / "tune" / "receipt.json").read_text())
    assert receipt["counts"]["data"][0]["train"] == 15


def test_an_encoder_is_pretrained_and_measured_and_never_tuned(works: tuple[dict[str, Path], str]) -> None:
    work = works[0]["bert"]
    found = results(work)
    assert (list(found["runs"]), found["suites"]) == (["pretrained"], {})
    assert found["validation"]["objective"] == "masked_lm"
    figures = found["runs"]["pretrained"]["validation"]
    assert figures.keys() == {"loss", "perplexity", "accuracy", "shuffled_loss"}
    assert not (work / "tune").exists()
    assert all(one["blanks"] and "<mask>" in one["prompt"] for one in samples(work))
    report = (work / "report.html").read_text()
    assert "Encoder, trained by masked_lm: 15 % of the tokens hidden by whole_word" in report
    assert "What the models can do" not in report


def test_inspect_tells_objective_and_blanks(works: tuple[dict[str, Path], str]) -> None:
    work = works[0]["t5"]
    run = inspected(str(work / "pretrain"))
    assert run["objective"] == "span_corruption: 15 % of the tokens hidden, in spans of 3 on average"
    assert run["tokens_per_sample"]["inputs"] == 32
    evaluation = inspected(str(work / "eval"))
    assert evaluation["kind"] == "evaluation"
    assert evaluation["samples"] == samples(work)


def test_a_step_is_shown_with_what_was_hidden_in_it(works: tuple[dict[str, Path], str]) -> None:
    for name, blank in (("t5", "<extra_id_0>"), ("bert", "<mask>")):
        shown = inspected(str(works[0][name] / "pretrain"), "--step", "2")["samples"]
        assert len(shown) == 4
        assert any(blank in sample["reads"] for sample in shown)
        for sample in shown:
            text = "".join(one["text"] for one in sample["excerpts"])
            plain = sample["restores"].replace("«", "").replace("»", "")
            assert "".join(plain.split()) == "".join(text.split())


def test_tuning_an_encoder_is_the_users_error(works: tuple[dict[str, Path], str]) -> None:
    work = works[0]["bert"]
    ran = CliRunner().invoke(app, ["tune", str(work.with_suffix(".yaml")), "--work", str(work)])
    assert ran.exit_code == 2
    assert "model.architecture encoder has no answers to give" in ran.stderr
