"""The evaluation stage as a whole, with bigram models in place of trained ones."""

import json
from pathlib import Path

import pytest

from data_prep.contract.dataset import Dataset
from data_prep.contract.receipt import Receipt, write_receipt
from data_prep.contract.settings import InputError
from pipeline.config import EvaluationConfig
from pipeline.evaluation.evaluate import evaluate
from tests.pipeline import tiny
from tests.pipeline.evaluation.fakes import Bigram, bigram_of

TEXTS = {
    "train": [" ".join(tiny.WORDS)] * 40 + tiny.sentences(40),
    "validation": [" ".join(tiny.WORDS * (n % 3 + 3)) for n in range(12)],
}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    tiny.dataset(tmp_path / "dataset", TEXTS, instructions=True)
    for stage in ("pretrain", "tune"):
        (tmp_path / stage).mkdir()
        write_receipt(tmp_path / stage, Receipt(stage=stage, fingerprint=f"{stage}-1", config={}))
    return tmp_path


def recipe() -> EvaluationConfig:
    return tiny.evaluation(eval={"questions": 12, "shots": [0, 2], "generated_tokens": 5})


def test_results_samples_and_receipt(work: Path) -> None:
    vocabulary = Dataset(work / "dataset").vocabulary
    loaded, said = [], []

    def load(path: Path) -> Bigram:
        loaded.append(path.name)
        return bigram_of(recipe(), vocabulary, TEXTS["train"])

    runs = {"pretrained": work / "pretrain", "tuned": work / "tune"}
    receipt = evaluate(recipe(), work / "dataset", runs, work / "eval", said.append, load)
    results = json.loads((work / "eval" / "results.json").read_text())
    assert set(results["places"].values()) <= {"../pretrain", "../tune"}
    assert results == {
        key: receipt.counts[key] for key in ("validation", "suites", "baselines", "places", "runs")
    }
    assert results["runs"]["pretrained"]["validation"]["loss"] < results["validation"]["unigram"]["loss"] - 1
    assert "response" in results["suites"]["exam"]["tasks"]
    for run in results["runs"].values():
        assert [one["shots"] for one in run["suites"]["exam"]["response"]] == [0, 2]
        assert all(
            0 <= one["low"] <= one["value"] <= one["high"] <= 1 for one in run["suites"]["exam"]["response"]
        )
    assert [results["runs"][name]["tuned"] for name in runs] == [False, True]
    samples = [json.loads(line) for line in (work / "eval" / "samples.jsonl").read_text().splitlines()]
    assert {sample["source"] for sample in samples} == {"held-out instruction", "held-out document"}
    assert all(set(sample["answers"]) == set(runs) and sample["prompt"] for sample in samples)
    assert "unigram" in said[0]
    assert any("pretrained" in line and "perplexity" in line for line in said)

    assert evaluate(recipe(), work / "dataset", runs, work / "eval", said.append, load) == receipt
    assert loaded == ["pretrain", "tune"]
    write_receipt(work / "tune", Receipt(stage="tune", fingerprint="tune-2", config={}))
    again = evaluate(recipe(), work / "dataset", runs, work / "eval", said.append, load)
    assert again.fingerprint != receipt.fingerprint
    assert loaded == ["pretrain", "tune", "pretrain", "tune"]


def test_the_recipes_own_prompts_are_used(work: Path) -> None:
    vocabulary = Dataset(work / "dataset").vocabulary
    config = tiny.evaluation(eval={"prompts": ["reads the", "adds"], "questions": 4, "shots": [0]})
    model = bigram_of(config, vocabulary, TEXTS["train"])
    evaluate(config, work / "dataset", {"one": work / "pretrain"}, work / "eval", load=lambda path: model)
    samples = [json.loads(line) for line in (work / "eval" / "samples.jsonl").read_text().splitlines()]
    assert [sample["prompt"] for sample in samples] == ["reads the", "adds"]


def test_a_run_of_another_tokenizer_or_none_is_the_users_error(work: Path, tmp_path: Path) -> None:
    other = tiny.vocabulary(tmp_path / "other.model", size=140)
    model = bigram_of(recipe(), other, TEXTS["train"])
    runs = {"one": work / "pretrain"}
    with pytest.raises(InputError, match="its tokenizer is not that of"):
        evaluate(recipe(), work / "dataset", runs, work / "eval", load=lambda path: model)
    longer = tiny.evaluation(data={"sequence_length": 512})
    model = bigram_of(recipe(), Dataset(work / "dataset").vocabulary, TEXTS["train"])
    with pytest.raises(InputError, match="made with sequence_length 256"):
        evaluate(longer, work / "dataset", runs, work / "eval", load=lambda path: model)
    with pytest.raises(InputError, match="no such run"):
        evaluate(recipe(), work / "dataset", {"one": work / "none"}, work / "eval", load=lambda path: model)
    assert not (work / "eval" / "receipt.json").exists()
