"""Fine-tuning on real sets, beside training from scratch and beside baselines that know no language.

    python -m tests.benchmarks.tasks sst2 conll2003 --work /tmp/tasks [--start RUN] [--seeds 3]

A small BERT is pretrained on novels and Wikipedia (or taken from --start), then fine-tuned on each set, from
its weights and from drawn ones. Prints a line for each measure of each test split, and last
`tasks gain=0.031`, the least gain of pretraining in the main measures. The data is looked for in
../shared/data beside the project, or in --data; --set overrides a key of the recipe.
"""

import argparse
import json
import lzma
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
COMMON = {"kind": "finetune", "micro_batch": 32, "model": {"dropout": 0.1}}
PAIR = {"columns": ["text", "label"]}
SETS: dict[str, dict[str, Any]] = {
    "sst2": {
        "data": "sst2/train.tsv.xz",
        "validation": "sst2/dev.tsv.xz",
        "test": "sst2/test.tsv.xz",
        "task": {"kind": "classification", "read": PAIR},
        "epochs": 3,
        "learning_rate": 5e-4,
    },
    "conll2003": {
        "data": "conll2003/train.txt.xz",
        "validation": "conll2003/valid.txt.xz",
        "test": "conll2003/test.txt.xz",
        "task": {"kind": "tagging", "read": {"columns": ["words", "tags", "flag"]}},
        "epochs": 2,
        "learning_rate": 1e-3,
    },
    "mrpc": {
        "data": "mrpc/msr_paraphrase_train.txt.xz",
        "task": {
            "kind": "classification",
            "text": "#1 String",
            "second": "#2 String",
            "label": "Quality",
            "read": {"format": "tsv"},
        },
        "epochs": 3,
        "learning_rate": 3e-4,
    },
    "xquad": {
        "data": "xquad/xquad.en.json.xz",
        "task": {"kind": "question_answering", "question_tokens": 24, "stride": 24},
        "epochs": 4,
        "learning_rate": 5e-4,
    },
    "subjqa": {
        "data": "subjqa/restaurants.train.csv.xz",
        "test": "subjqa/restaurants.dev.csv.xz",
        "task": {"kind": "question_answering", "question_tokens": 24, "stride": 24},
        "epochs": 2,
        "learning_rate": 5e-4,
    },
}
"""Keys of each set's stage; files lie in the folder of data."""
MODEL = {
    "preset": "bert-tiny",
    "layers": 3,
    "hidden_size": 128,
    "heads": 4,
    "dropout": 0.0,
    "norm_placement": "pre",
    "positions": "relative",
    "mimetic": True,
}
TRAIN = {
    "steps": 1500,
    "global_batch": 64,
    "micro_batch": 32,
    "learning_rate": 3e-3,
    "minimum_learning_rate": 1e-4,
    "warmup_steps": 50,
    "validate_every": 250,
    "checkpoint_every": 250,
}
PART = 3000
"""Characters of a document, about."""


def main() -> None:
    """Write the recipe, run it, print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=sorted(SETS), help="what to fine-tune on")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs")
    parser.add_argument("--start", type=Path, help="a pretrained run, or one of its checkpoints")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the sets")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    recipe = given.work / "tasks.yaml"
    recipe.write_text(yaml.safe_dump(made(given), sort_keys=False))
    command = [sys.executable, "-c", "from launch.cli import main; main()", "run", str(recipe)]
    for override in given.set:
        command += ["--set", override]
    subprocess.run([*command, "--work", str(given.work)], cwd=ROOT, check=True)
    gains = [told(given.work, name) for name in given.sets]
    print(f"tasks gain={min(gains):.4f}")


def made(given: argparse.Namespace) -> dict[str, Any]:
    """The recipe."""
    stages: dict[str, Any] = {}
    start = str(given.start.resolve()) if given.start else "base"
    recipe: dict[str, Any] = {
        "name": "tasks",
        "data": {"sequence_length": 64},
        "tracking": {"enabled": False},
    }
    if not given.start:
        corpus = given.work / "corpus.jsonl"
        if not corpus.is_file():
            texts = (json.dumps({"text": text}) + "\n" for text in documents(given.data))
            corpus.write_text("".join(texts))
        about = {"kind": "jsonl", "paths": [str(corpus)], "max_bytes": 22_000_000, "filters": {"use": []}}
        recipe |= {"corpus": about | {"pii": False}, "model": MODEL, "train": TRAIN}
        recipe["tokenizer"] = {"kind": "bpe", "vocabulary_size": 6016, "sample_bytes": 5_000_000}
        recipe["objective"] = {"kind": "masked_lm", "noise_density": 0.25}
        stages = {"dataset": {"kind": "prep"}, "base": {"kind": "pretrain", "data": "dataset"}}
    for name in given.sets:
        keys = COMMON | {"from": start, "seeds": given.seeds} | SETS[name]
        for key in ("data", "validation", "test"):
            if key in keys:
                keys[key] = [str((given.data / keys[key]).resolve())]
        if name == "subjqa":
            keys |= plain_answers(given, keys)
        stages |= {name: keys, f"{name}-scratch": keys | {"from_scratch": True}}
    return recipe | {"stages": stages}


def plain_answers(given: argparse.Namespace, keys: dict[str, Any]) -> dict[str, Any]:
    """SubjQA's rows in SQuAD's form: answers by their characters, no answer where it is ANSWERNOTFOUND."""
    import csv

    found: dict[str, Any] = {}
    for key in ("data", "test"):
        out = given.work / f"subjqa-{key}.jsonl"
        with lzma.open(keys[key][0], "rt", encoding="utf-8", newline="") as file, out.open("w") as lines:
            for row in csv.DictReader(file):
                start, end = (int(one) for one in row["human_ans_indices"].strip("()").split(","))
                context = row["review"]
                text = context[start:end]
                nothing = "ANSWERNOTFOUND" in text or not text.strip()
                answers = [] if nothing else [{"text": text, "answer_start": start}]
                lines.write(
                    json.dumps({"question": row["question"], "context": context, "answers": answers}) + "\n"
                )
        found[key] = [str(out)]
    return found


def documents(data: Path) -> Iterator[str]:
    """Stretches of a hundred novels, one of each in turn, and of Wikipedia."""
    with tarfile.open(data / "novels100" / "novels100.tar.xz") as archive:
        files = [archive.extractfile(one) for one in archive if one.isfile()]
        texts = [file.read().decode("utf-8", "replace") for file in files if file]
    for start in range(0, 300_000, PART):
        yield from (text[start : start + PART] for text in texts if start < len(text))
    for split in ("valid", "test"):
        with lzma.open(data / "wikitext2" / f"wiki.{split}.tokens.xz", "rt", encoding="utf-8") as file:
            whole = file.read()
        yield from (whole[start : start + PART] for start in range(0, len(whole), PART))


def told(work: Path, name: str) -> float:
    """Print the last split's figures of a set; returns what pretraining gains in the main one."""
    runs = {one: json.loads((work / one / "results.json").read_text()) for one in (name, f"{name}-scratch")}
    split = list(runs[name]["splits"])[-1]
    means: dict[str, float] = {}
    for label, results in runs.items():
        about = results["splits"][split]
        for measure, one in list(about["seeds"].values())[-1].items():
            spread = about["spread"][measure]
            seeds = (
                f"  mean {spread['mean']:.4f} +- {spread['deviation']:.4f}" if len(about["seeds"]) > 1 else ""
            )
            line = (
                f"{label:<18} {split} {measure:<24} {one['value']:.4f} [{one['low']:.4f}, {one['high']:.4f}]"
            )
            others = "".join(
                f"  {other} {figures['figures'][measure]['value']:.4f}"
                for other, figures in about["baselines"].items()
            )
            print(line + seeds + others)
        means[label] = about["spread"][results["main"]]["mean"]
    return means[name] - means[f"{name}-scratch"]


if __name__ == "__main__":
    main()
