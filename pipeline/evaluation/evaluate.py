"""The evaluation stage: a dataset and trained runs in; results, samples and a receipt out.

results.json    validation figures of each run and of a unigram model, and the scores of every task
samples.jsonl   {"prompt", "source", "blanks", "reference", "answers": {run: text}} a line; `blanks` says
                whether the prompt is a text with blanks and each answer the same text with them filled in
exam/           the exam as a suite of task files and rows (`pipeline.evaluation.exam`)
records/        every question of every suite with all that came of it (`pipeline.evaluation.tasks.records`)
receipt.json    written last; where it matches the configuration and the runs, nothing is done again
"""

import json
import os
import time
from collections.abc import Callable, Iterator
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
from pipeline.costs.flops import padded_vocabulary, parameters
from pipeline.data.remote import open_dataset
from pipeline.evaluation.tasks.suites import identity_of

if TYPE_CHECKING:
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
    from pipeline.evaluation.suites import Suites
    from pipeline.evaluation.workers import Workers, processes

    data = open_dataset(str(dataset), config.data)
    inputs = inputs_of(config, data, runs)
    expected = wanted(config, inputs)
    done = read_receipt(folder)
    if done is not None and done.fingerprint == expected:
        notify(f"eval: {folder} is up to date")
        return done
    started = time.time()
    load = load or _loader()
    suite = make_suite(config, data)
    notify(told("unigram", suite.validation["unigram"]) + f"; {suite.validation['about']}")
    suites = Suites(config, data, folder, notify)
    measured, answers, baseline = {}, {}, suites.baseline()
    for name, path in runs.items():
        model, tuned = load(path), is_tuned(path)
        check_fits(model, data, config, path)
        validation = suite.loss(model)
        with Workers(model, path, processes(config.eval.processes)) as workers:
            marks = suites.ask(workers, name, identity(path), tuned)
        measured[name] = {
            "tuned": tuned,
            "parameters": size_of(model),
            "validation": validation,
            "suites": marks,
        }
        answers[name] = suite.answers(model, tuned)
        notify(told(name, validation))
        for line in marks_told(name, marks):
            notify(line)
    suites.measurement.finish()
    results = {
        "validation": suite.validation,
        "suites": suites.describe(),
        "baselines": {"unigram": {"suites": baseline}},
        "places": {name: place_of(path, folder) for name, path in runs.items()},
    }
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


def size_of(model: "LanguageModel") -> int:
    """A model's parameters."""
    config = model.config
    rows = padded_vocabulary(model.vocabulary.size)
    return parameters(config.model, rows, config.position_table, config.objective)


def place_of(run: Path, folder: Path) -> str:
    """Where a run lies: from the evaluation's folder where both are in one work folder, that may be moved."""
    run, folder = run.resolve(), folder.resolve()
    return os.path.relpath(run, folder) if folder.parent in run.parents else str(run)


def inputs_of(config: EvaluationConfig, data: Dataset, runs: dict[str, Path]) -> dict[str, str]:
    """Fingerprints of the dataset, of the recipe's own suites and of every run."""
    asked = {"dataset": data.manifest.fingerprint} | suites_identity(config)
    return asked | {name: identity(path) for name, path in runs.items()}


def suites_identity(config: EvaluationConfig) -> dict[str, str]:
    """Stands for the recipe's own suites, by their places. `InputError` where one is not there or wrong."""
    if config.eval.suites and not config.can_answer:
        raise InputError("eval.suites: model.architecture encoder gives no answers; leave them out")
    return {f"suite {place}": fingerprint(identity_of(Path(place))) for place in config.eval.suites}


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
    if own.objective.kind != config.speaker.objective.kind:
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


FIGURES = {
    "loss": "loss {:.4f}",
    "perplexity": "perplexity {:.1f}",
    "bits_per_byte": "{:.3f} bits per byte",
    "accuracy": "{:.1%} right",
    "shuffled_loss": "loss {:.4f} with the words shuffled",
}
"""How a line tells the figures of a model that it has."""


def told(name: str, validation: dict[str, float]) -> str:
    """One line of a model's figures on held-out text."""
    found = ", ".join(words.format(validation[key]) for key, words in FIGURES.items() if key in validation)
    return f"eval: {name:<11} {found}"


def marks_told(name: str, marks: dict[str, Any]) -> Iterator[str]:
    """A line a suite: every task's score with its first number of examples."""
    for suite, tasks in marks.items():
        scores = ", ".join(f"{task} {found[0]['value']:.2f}" for task, found in tasks.items())
        yield f"eval: {name:<11} {suite}: {scores}"


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
