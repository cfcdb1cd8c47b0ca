"""The evaluation stage: a dataset and trained runs in; results, samples and a receipt out.

results.json    validation figures of each run and of a unigram model, and the shot curves
samples.jsonl   {"prompt", "source", "reference", "answers": {run: text}} a line
receipt.json    written last; where it matches the configuration and the runs, nothing is done again
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.contract.dataset import Dataset
from data_prep.contract.receipt import (
    Receipt,
    fingerprint,
    read_receipt,
    versions,
    write_atomic,
    write_receipt,
)
from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig
from pipeline.data.remote import open_dataset
from pipeline.evaluation.choices import Ask, shot_curve
from pipeline.evaluation.perplexity import HeldOut, held_out, model_loss, unigram_loss
from pipeline.evaluation.questions import Task, as_chat, as_text, make_task
from pipeline.evaluation.samples import Prompt, answer, choose_prompts
from pipeline.evaluation.scoring import LanguageModel

RESULTS, SAMPLES = "results.json", "samples.jsonl"
Load = Callable[[Path], LanguageModel]


def evaluate(
    config: PipelineConfig,
    dataset: Path,
    runs: dict[str, Path],
    folder: Path,
    notify: Callable[[str], None] = print,
    load: Load | None = None,
) -> Receipt:
    """Measure every run (a run folder or a checkpoint, by the name it is shown under) on the dataset."""
    data = open_dataset(str(dataset), config.data)
    inputs = {"dataset": data.manifest.fingerprint} | {name: identity(path) for name, path in runs.items()}
    expected = fingerprint("eval", config.eval, config.data.sequence_length, config.seed, inputs)
    done = read_receipt(folder)
    if done is not None and done.fingerprint == expected:
        notify(f"eval: {folder} is up to date")
        return done
    started = time.time()
    load = load or _loader()
    settings = config.eval
    length = config.data.sequence_length
    held = held_out(data, "validation", length, config.seed, settings.validation_tokens)
    task = make_task(data, settings.questions, settings.choices, max(settings.shots), config.seed)
    prompts = choose_prompts(settings, data)
    unigram = unigram_loss(data, held)
    notify(f"eval: unigram     loss {unigram['loss']:.4f} on {held.predictions:,} validation tokens")
    measured, answers = {}, {}
    for name, path in runs.items():
        model = load(path)
        check_fits(model, data, length, path)
        measured[name], answers[name] = measure(config, model, name, is_tuned(path), held, task, prompts)
        notify(summary(name, measured[name]))
    results = {
        "validation": describe(data, held, unigram),
        "task": describe_task(task, settings.choices),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / RESULTS, json.dumps({**results, "runs": measured}, indent=2) + "\n")
    write_atomic(folder / SAMPLES, sample_lines(prompts, answers))
    receipt = Receipt(
        stage="eval",
        fingerprint=expected,
        config=settings.model_dump(mode="json"),
        inputs=inputs,
        counts={**results, "runs": measured, "samples": len(prompts)},
        seconds=time.time() - started,
        versions=versions("torch", "sentencepiece"),
    )
    write_receipt(folder, receipt)
    return receipt


def measure(
    config: PipelineConfig,
    model: LanguageModel,
    name: str,
    tuned: bool,
    held: HeldOut,
    task: Task,
    prompts: list[Prompt],
) -> tuple[dict[str, Any], list[str]]:
    """All figures of one model and its answer to each prompt; a tuned model is asked in the chat template."""
    ask: Ask = as_chat if tuned else as_text
    figures = {
        "tuned": tuned,
        "validation": model_loss(model, held),
        "shots": shot_curve(model, task, config.eval.shots, ask) if task.questions else [],
    }
    return figures, answer(model, prompts, tuned, config.eval.generated_tokens, config.seed)


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
            return receipt.stage == "tune"
    return False


def check_fits(model: LanguageModel, dataset: Dataset, length: int, path: Path) -> None:
    """`InputError` where a run's tokens are not the dataset's, or its context is shorter than `length`."""
    if model.vocabulary.sha256 != dataset.vocabulary.sha256:
        raise InputError(
            f"{path}: its tokenizer is not that of {dataset.folder}; evaluate a run on its own dataset"
        )
    if model.config.data.sequence_length < length:
        raise InputError(
            f"{path}: made with sequence_length {model.config.data.sequence_length}, less than the recipe's "
            f"data.sequence_length {length}; set that to at most the run's"
        )


def describe(dataset: Dataset, held: HeldOut, unigram: dict[str, float]) -> dict[str, Any]:
    """What the validation figures are of."""
    return {
        "dataset": dataset.manifest.fingerprint,
        "documents": held.documents,
        "windows": len(held.windows),
        "predicted_tokens": held.predictions,
        "whole_split": held.whole_split,
        "unigram": unigram,
    }


def describe_task(task: Task, choices: int) -> dict[str, Any]:
    """What the questions are."""
    return {
        "name": task.name,
        "about": task.about,
        "questions": len(task.questions),
        "choices": choices,
        "chance": 1 / choices,
    }


def summary(name: str, figures: dict[str, Any]) -> str:
    """One line of a model's figures."""
    validation = figures["validation"]
    shots = ", ".join(
        f"{one['shots']}-shot {one['accuracy']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"
        for one in figures["shots"]
    )
    return (
        f"eval: {name:<11} loss {validation['loss']:.4f}, perplexity {validation['perplexity']:.1f}, "
        f"{validation['bits_per_byte']:.3f} bits per byte" + (f"; {shots}" if shots else "")
    )


def sample_lines(prompts: list[Prompt], answers: dict[str, list[str]]) -> str:
    """The lines of samples.jsonl."""
    return "".join(
        json.dumps(
            {
                "prompt": prompt.text,
                "source": prompt.source,
                "reference": prompt.reference,
                "answers": {name: texts[index] for name, texts in answers.items()},
            },
            ensure_ascii=False,
        )
        + "\n"
        for index, prompt in enumerate(prompts)
    )


def _loader() -> Load:
    from pipeline.models.load import load_model

    return load_model
