"""`bloomery inspect`: what a folder holds."""

import json
from pathlib import Path
from typing import Any

from data_prep.contract.dataset import MANIFEST
from data_prep.contract.names import one_line
from data_prep.contract.pictures import holds_pictures
from data_prep.contract.reading import read_json, read_jsonl
from data_prep.contract.receipt import read_receipt
from data_prep.contract.settings import InputError
from pipeline.reports.findings import graph


def describe(path: Path) -> dict[str, Any]:
    """What a dataset, checkpoint, run or work folder holds; `InputError` where it is none of these."""
    if holds_pictures(path):
        from data_prep.images.inspect import describe as describe_pictures

        return describe_pictures(path)
    if (path / MANIFEST).is_file():
        from data_prep.inspect import describe as describe_dataset

        return describe_dataset(path)
    if (path / "checkpoint.json").is_file():
        from pipeline.checkpoints.format import describe as describe_checkpoint

        return {"kind": "checkpoint"} | describe_checkpoint(path)
    if (path / "config.yaml").is_file():
        return _describe_run(path)
    if (path / "results.json").is_file():
        return _describe_evaluation(path)
    stages = [name for name in graph(path) if (path / name).is_dir()] if path.is_dir() else []
    if stages:
        receipts = {name: read_receipt(path / name) for name in stages}
        done = {name: receipt.counts if receipt else "not finished" for name, receipt in receipts.items()}
        return {"kind": "work folder", "stages": done}
    raise InputError(f"{path}: neither a dataset, a checkpoint, a run, an evaluation nor a work folder")


def write_sheet(path: Path, target: Path) -> Path:
    """Write pictures of a dataset side by side into a PNG; `InputError` where it has none."""
    from data_prep.contract.pictures import ImageDataset
    from data_prep.images.sheet import draw_sheet

    try:
        draw_sheet(ImageDataset(path)).save(target, "PNG")
    except OSError as error:
        raise InputError(f"--sheet {target}: cannot be written ({error.strerror or error})") from None
    return target


def trace(run: Path, step: int) -> dict[str, Any]:
    """The documents in a step of a pretraining run, and what was hidden of them; steps count from 1.

    Of a fine-tuned run these are rows.
    """
    from dataclasses import asdict

    from data_prep.contract.dataset import TOKENIZER
    from data_prep.contract.vocabulary import Vocabulary
    from pipeline.checkpoints.run_folder import AGENT, identity_of, read_config
    from pipeline.config.objective import IN_TEXT
    from pipeline.data.provenance import step_batch, trace_step
    from pipeline.evaluation.blanks import read, restored, shown
    from pipeline.finetuning.provenance import ROWS, trace_rows
    from pipeline.training.loss_guard import read_skipped
    from pipeline.training.loss_spikes import batch_of

    if (run / ROWS).is_file():
        return {"kind": "step", "step": step, "rows": trace_rows(run, step)}
    if (run / AGENT).is_file():
        raise InputError(f"--step {step}: {run} is an agent, of whose batches nothing is told")
    config = read_config(run)
    if not 1 <= step <= config.train.steps:
        raise InputError(f"--step {step}: the run {run} has the steps 1 to {config.train.steps}")
    place = str((run.resolve() / identity_of(run).get("dataset", "../dataset")).resolve())
    number = batch_of(step - 1, (read_skipped(run) or {}).get("skipped", []))
    samples = [asdict(sample) for sample in trace_step(config, place, number)]
    if config.objective.kind in IN_TEXT:
        batch, vocabulary = step_batch(config, place, number), Vocabulary(run / TOKENIZER)
        for number, sample in enumerate(samples):
            learned = batch["targets"][number][batch["weights"][number] > 0]
            row = batch.get("encoder_tokens", batch["tokens"])[number]
            sample["reads"] = vocabulary.decode(row.tolist())
            sample["says"] = vocabulary.decode(learned.tolist())
    elif config.model.architecture != "decoder":
        batch, vocabulary = step_batch(config, place, number), Vocabulary(run / TOKENIZER)
        name = "restores" if config.vision is None else "says"
        said = (
            restored(batch, vocabulary)
            if config.vision is None
            else [" ".join(map(str, row)) for row in batch["targets"].tolist()]
        )
        texts = zip(read(batch, vocabulary), said, strict=True)
        for sample, (row, text) in zip(samples, texts, strict=True):
            sample |= {"reads": shown(vocabulary, row), name: text}
    return {"kind": "step", "step": step, "samples": samples}


def step_lines(found: dict[str, Any]) -> list[str]:
    """A step for people: its rows, or what its samples hold."""
    if "rows" not in found:
        return sample_lines(found["samples"])
    return [f"{row['document']}  {' '.join(row['text'].split())}" for row in found["rows"]]


def sample_lines(samples: list[dict[str, Any]], characters: int = 160) -> list[str]:
    """One line for each document of each sample: where it is from, and the beginning of its text."""
    found: list[str] = []
    for sample in samples:
        found.append(f"sample {sample['number']}  (epoch {sample['epoch']})")
        for one in sample["excerpts"]:
            place = one_line(one["url"] or one["source"] or "?")
            text = " ".join(one["text"].split())[:characters]
            size = f"{one['tokens']:>5} tokens" if one["tokens"] else "picture"
            found.append(f"  {one['document']:016x}  {size}  {place}  {text}")
        for name in ("reads", "restores", "says"):
            if name in sample:
                found.append(f"  {name:<9} {' '.join(sample[name].split())[: 2 * characters]}")
    return found


def _describe_evaluation(folder: Path) -> dict[str, Any]:
    from pipeline.evaluation.evaluate import RESULTS, SAMPLES

    results = read_json(folder / RESULTS)
    samples = [line for _, line in read_jsonl(folder / SAMPLES)]
    return {"kind": "evaluation", **results, "samples": samples}


def _describe_run(run: Path) -> dict[str, Any]:
    from pipeline.checkpoints.run_folder import read_config
    from pipeline.objectives.registry import objective_of
    from pipeline.tracking import metrics

    lines = metrics.read(run / metrics.METRICS)
    receipt, config = read_receipt(run), read_config(run)
    objective = objective_of(config.objective)
    found: dict[str, Any] = {"kind": "run", "objective": objective.describe()}
    if objective.form == "tokens":
        lengths = objective.shape(config.data)
        targets = lengths.targets or lengths.inputs
        found["tokens_per_sample"] = {"inputs": lengths.inputs, "targets": targets}
    return found | {
        "config": config.model_dump(mode="json"),
        "checkpoints": sorted(path.name for path in (run / "checkpoints").glob("step-*")),
        "last_metrics": lines[-1] if lines else None,
        "finished": receipt.counts if receipt else False,
    }


def lines(value: Any, indent: int = 0) -> list[str]:
    """Nested values as indented lines for people; long lists are cut."""
    if value.get("kind") == "dataset":
        from data_prep.inspect import lines as dataset_lines

        return dataset_lines(value)
    if value.get("kind") == "pictures":
        from data_prep.images.inspect import lines as picture_lines

        return picture_lines(value)
    space = "  " * indent
    found: list[str] = []
    for name, item in value.items():
        if isinstance(item, dict) and item:
            found += [f"{space}{name}", *lines(item, indent + 1)]
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            found.append(f"{space}{name}")
            found += [f"{space}  - {json.dumps(one, ensure_ascii=False)[:200]}" for one in item[:12]]
        else:
            found.append(
                f"{space}{name:<24} {item:,}" if isinstance(item, int) else f"{space}{name:<24} {item}"
            )
    return found
