"""Rows of every task about made-up sentences, and stages that learn them."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from data_prep.contract.stages import Source, Stage
from pipeline.config import DataConfig, ModelConfig, ObjectiveConfig, ParallelConfig, PipelineConfig
from pipeline.config.tracking import TrackingConfig
from pipeline.stages.finetune import Finetune, FinetuneConfig
from pipeline.training.run import run
from tests.pipeline import tiny

BERT = {"norm_placement": "post", "embedding_norm": True, "token_types": 2, "activation": "gelu"}
MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "encoder": (BERT, "masked_lm"),
    "decoder": ({}, "causal_lm"),
    "encoder_decoder": ({"positions": "relative", "norm": "rmsnorm", "bias": False}, "span_corruption"),
}
NOUNS = ("list", "number", "file", "path", "value")


def config(architecture: str, **parallel: Any) -> PipelineConfig:
    """A small model of an architecture."""
    keys, kind = MODELS[architecture]
    size: dict[str, Any] = {"layers": 2, "hidden_size": 32, "heads": 4}
    return PipelineConfig(
        name="made",
        model=ModelConfig(architecture=architecture, **(size | keys)),
        objective=ObjectiveConfig.model_validate({"kind": kind}),
        data=DataConfig(sequence_length=32),
        parallel=ParallelConfig(**parallel),
        tracking=TrackingConfig(enabled=False),
    )


def rows(kind: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a task whose answers stand in the sentences."""
    found = []
    for index, text in enumerate(tiny.sentences(count, seed)):
        words = text.rstrip(".").split()
        nouns = [one for one in words if one in NOUNS]
        wrong = [one for one in NOUNS if one not in words][:1] or ["sum"]
        answer = {"text": words[0], "answer_start": 0}
        found.append(
            {
                "classification": {"text": text, "label": "long" if len(words) > 8 else "short"},
                "regression": {"text": text, "score": len(words)},
                "tagging": {"words": words, "tags": ["B-N" if one in NOUNS else "O" for one in words]},
                "question_answering": {
                    "question": "the two",
                    "context": text,
                    "answers": [] if index % 4 == 0 else [answer],
                },
                "multiple_choice": {"text": text, "choices": [words[0], *wrong], "answer": 0},
                "text_to_text": {"source": text, "target": words[0] if not nouns else nouns[0]},
            }[kind]
        )
    return found


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    """JSON lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def settings(task: dict[str, Any], **keys: Any) -> FinetuneConfig:
    """A stage's own keys: few steps, a high rate."""
    given = {"epochs": 1.0, "micro_batch": 8, "global_batch": 16, "learning_rate": 3e-3, "log_every": 1000}
    return TypeAdapter(FinetuneConfig).validate_python(given | {"task": task} | keys)


def stage(
    name: str,
    given: PipelineConfig,
    work: Path,
    base: Path,
    files: dict[str, dict[str, Path]],
    own: FinetuneConfig,
) -> Stage:
    """A stage that starts from the run in `base`."""
    inputs: dict[str, tuple[Source, ...]] = {"from": (Source("base", str(base)),)}
    for key, named in files.items():
        inputs[key] = tuple(Source(label, str(path)) for label, path in named.items())
    sections = {section: getattr(given, section) for section in Finetune.sections}
    return Stage(name, "finetune", given.name, given.seed, work, sections, own, inputs)


def train(place: Stage) -> None:
    """Every job of a stage, in this process of a world."""
    kind = Finetune()
    *others, job = kind.jobs(place)

    def batches(one: Any) -> Any:
        return lambda world: kind.batches(place, one, world)

    assert run(
        job, batches(job), make_task=kind.task(place, job), others=[(one, batches(one)) for one in others]
    )
