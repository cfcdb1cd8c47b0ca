"""The evaluation stage: a dataset and trained runs in; results, samples and a receipt out.

results.json    validation figures of each run and of a unigram model, and the shot curves
samples.jsonl   {"prompt", "source", "blanks", "reference", "answers": {run: text}} a line; `blanks` says
                whether the prompt is a text with blanks and each answer the same text with them filled in
receipt.json    written last; where it matches the configuration and the runs, nothing is done again
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.contract.dataset import Dataset
from data_prep.contract.receipt import (
    Receipt,
    fingerprint,
    kind_of,
    read_receipt,
    versions,
    write_atomic,
    write_receipt,
)
from data_prep.contract.settings import InputError
from pipeline.config import EvaluationConfig
from pipeline.data.remote import open_dataset

if TYPE_CHECKING:
    from pipeline.evaluation.questions import QuestionSet
    from pipeline.evaluation.samples import Prompt
    from pipeline.evaluation.scoring import LanguageModel

RESULTS, SAMPLES = "results.json", "samples.jsonl"
"""What an evaluation leaves in its folder."""
Load = Callable[[Path], "LanguageModel"]


def evaluate(
    config: EvaluationConfig,
    dataset: Path,
    runs: dict[str, Path],
    folder: Path,
    notify: Callable[[str], None] = print,
    load: Load | None = None,
) -> Receipt:
    """Measure every run (a run folder or a checkpoint, by the name it is shown under) on the dataset."""
    from pipeline.evaluation.suite import make_suite

    data = open_dataset(str(dataset), config.data)
    inputs = inputs_of(data, runs)
    expected = wanted(config, inputs)
    done = read_receipt(folder)
    if done is not None and done.fingerprint == expected:
        notify(f"eval: {folder} is up to date")
        return done
    started = time.time()
    load = load or _loader()
    suite = make_suite(config, data)
    notify(told("unigram", suite.validation["unigram"]) + f"; {suite.validation['about']}")
    measured, answers = {}, {}
    for name, path in runs.items():
        model = load(path)
        check_fits(model, data, config, path)
        measured[name] = suite.figures(model, is_tuned(path))
        answers[name] = suite.answers(model, is_tuned(path))
        notify(told(name, measured[name]["validation"], measured[name]["shots"]))
    results = {
        "validation": suite.validation,
        "task": describe_task(suite.task, config.eval.choices),
        "places": {name: str(path) for name, path in runs.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / RESULTS, json.dumps({**results, "runs": measured}, indent=2) + "\n")
    write_atomic(folder / SAMPLES, sample_lines(suite.prompts, answers))
    receipt = Receipt(
        stage=folder.name,
        kind="evaluate",
        fingerprint=expected,
        config=config.eval.model_dump(mode="json"),
        inputs=inputs,
        counts={**results, "runs": measured, "samples": len(suite.prompts)},
        seconds=time.time() - started,
        versions=versions("torch", "sentencepiece"),
    )
    write_receipt(folder, receipt)
    return receipt


def inputs_of(data: Dataset, runs: dict[str, Path]) -> dict[str, str]:
    """Fingerprints of the dataset and of every run."""
    return {"dataset": data.manifest.fingerprint} | {name: identity(path) for name, path in runs.items()}


def wanted(config: EvaluationConfig, inputs: dict[str, str]) -> str:
    """The fingerprint of an evaluation."""
    asked = [section.identity() for section in (config.eval, config.data, config.objective)]
    return fingerprint("eval", asked, config.seed, inputs)


def identity(path: Path) -> str:
    """What stands for a run: its receipt's fingerprint, else the names and times of its files."""
    receipt = read_receipt(path)
    if receipt is not None:
        return receipt.fingerprint
    if not path.is_dir():
        raise InputError(f"{path}: no such run; train it with `bloomery train` or `bloomery tune`")
    return fingerprint(
        sorted(
            (str(one.relative_to(path)), one.stat().st_mtime_ns) for one in path.rglob("*") if one.is_file()
        )
    )


def is_tuned(path: Path) -> bool:
    """Whether a run, or the run that a checkpoint lies in, is one of instruction tuning."""
    for folder in (path, path.parent.parent):
        receipt = read_receipt(folder)
        if receipt is not None:
            return kind_of(receipt) == "instruct"
    return False


def check_fits(model: "LanguageModel", dataset: Dataset, config: EvaluationConfig, path: Path) -> None:
    """`InputError` where a run cannot be asked what the recipe asks on this dataset."""
    check_tokens(model, dataset, path)
    own, length = model.config, config.data.sequence_length
    if own.data.sequence_length < length:
        raise InputError(
            f"{path}: made with sequence_length {own.data.sequence_length}, less than the recipe's "
            f"data.sequence_length {length}; set that to at most the run's"
        )
    if own.objective.kind != config.objective.kind:
        raise InputError(
            f"{path}: trained with objective.kind {own.objective.kind} where the recipe has "
            f"{config.objective.kind}; evaluate it with the recipe it was made with"
        )


def check_tokens(model: "LanguageModel", dataset: Dataset, path: Path) -> None:
    """`InputError` where a dataset has other tokens than a model reads."""
    if model.vocabulary.sha256 != dataset.vocabulary.sha256:
        raise InputError(
            f"{path}: its tokenizer is not that of {dataset.folder}; evaluate a run on its own dataset"
        )


def describe_task(task: "QuestionSet | None", choices: int) -> dict[str, Any] | None:
    """What the questions are; None where there are none to ask."""
    if task is None:
        return None
    return {
        "name": task.name,
        "about": task.about,
        "questions": len(task.questions),
        "choices": choices,
        "chance": 1 / choices,
    }


FIGURES = {
    "loss": "loss {:.4f}",
    "perplexity": "perplexity {:.1f}",
    "bits_per_byte": "{:.3f} bits per byte",
    "accuracy": "{:.1%} right",
    "shuffled_loss": "loss {:.4f} with the words shuffled",
}
"""How a line tells the figures of a model that it has."""


def told(name: str, validation: dict[str, float], shots: Sequence[dict[str, Any]] = ()) -> str:
    """One line of a model's figures."""
    found = ", ".join(words.format(validation[key]) for key, words in FIGURES.items() if key in validation)
    right = ", ".join(
        f"{one['shots']}-shot {one['accuracy']:.2f} [{one['low']:.2f}, {one['high']:.2f}]" for one in shots
    )
    return f"eval: {name:<11} {found}" + (f"; {right}" if right else "")


def sample_lines(prompts: "list[Prompt]", answers: dict[str, list[str]]) -> str:
    """The lines of samples.jsonl."""
    return "".join(
        json.dumps(
            {
                "prompt": prompt.text,
                "source": prompt.source,
                "blanks": bool(prompt.blanks),
                "reference": prompt.reference,
                "answers": {name: texts[index] for name, texts in answers.items()},
            },
            ensure_ascii=False,
        )
        + "\n"
        for index, prompt in enumerate(prompts)
    )


def _loader() -> Load:
    from pipeline.generation.load import load_model

    return load_model
