"""A finished work folder, made up: what the report and MLflow read."""

import json
from pathlib import Path

from data_prep.contract.receipt import Receipt, write_receipt
from pipeline.tracking import metrics
from tests.pipeline import tiny

SCORE = {
    "draws": 1,
    "n": 50,
    "spread": None,
    "low": 0.1,
    "high": 0.9,
    "others": {"right_by_sum": 0.3},
    "examples_dropped": 1,
    "questions_cut": 0,
    "generated_tokens": 0,
}
TASK = {
    "about": "Which <response>?",
    "level": 5,
    "score": "choices",
    "normalise": "sum",
    "questions": 50,
    "broken": {"an empty choice": 2},
    "chance": 0.25,
    "searched": 40,
    "contaminated": 3,
}


def finished_work(work: Path) -> None:
    """Write receipts, metrics, results and samples of a whole run into `work`."""
    tiny.dataset(work / "dataset", {"train": ["a file."], "validation": ["a path."]})
    funnel = [
        {"step": "collected", "documents": 200, "bytes": 3 << 20, "removed": {}},
        {"step": "cleaned", "documents": 150, "bytes": 2 << 20, "removed": {"<too short>": 50}},
    ]
    steps = {"collect": {"documents_per_second": 25.0, "megabytes_per_second": 0.5, "kept_share": 0.75}}
    counts = {"funnel": funnel, "train_tokens": 1_234_000, "steps": steps}
    write_receipt(work / "dataset", Receipt(stage="prep", fingerprint="p", config={}, counts=counts))
    for stage in ("pretrain", "tune"):
        (work / stage / "checkpoints" / "step-20").mkdir(parents=True)
        for step in range(1, 21):
            values = {"loss": 6 - step / 10, "tokens_per_second": 6e4, "learning_rate": 1e-3}
            metrics.append(work / stage / "metrics.jsonl", step, values)
        metrics.append(work / stage / "metrics.jsonl", 20, {"validation_loss": 4.1})
        (work / stage / "tokenizer.model").write_bytes((work / "dataset" / "tokenizer.model").read_bytes())
        parameters = {"parameters": 3_120_000}
        write_receipt(
            work / stage, Receipt(stage=stage, fingerprint=stage, config={"seed": 1}, counts=parameters)
        )
    write_evaluation(work / "eval")


def write_evaluation(folder: Path) -> None:
    """Results and samples of two models."""
    figures = {"loss": 3.2, "perplexity": 24.5, "bits_per_byte": 1.31}
    shots = [{**SCORE, "shots": count, "value": right / 50} for count, right in ((0, 20), (4, 31))]
    results = {
        "validation": {
            "dataset": "d",
            "documents": 7,
            "windows": 31,
            "predicted_tokens": 4321,
            "whole_split": True,
            "about": "4,321 predicted tokens of 7 <documents>",
            "unigram": {"loss": 6.5, "perplexity": 665.1, "bits_per_byte": 2.7},
        },
        "suites": {"exam": {"train_tokens_searched": 9_000, "tasks": {"response": TASK}}},
        "baselines": {"unigram": {"suites": {"exam": {"response": shots[:1]}}}},
        "runs": {
            name: {"tuned": name == "tuned", "validation": figures, "suites": {"exam": {"response": shots}}}
            for name in ("pretrained", "tuned")
        },
    }
    samples = [
        {
            "prompt": "def <f>(x)",
            "source": "held-out instruction",
            "reference": "adds <one>",
            "answers": {"pretrained": "a & b", "tuned": "adds"},
        }
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "samples.jsonl").write_text("".join(json.dumps(one) + "\n" for one in samples))
    write_receipt(folder, Receipt(stage="eval", fingerprint="e", config={}, counts=results))
