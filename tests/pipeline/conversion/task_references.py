"""Fine-tuned models on both sides: ours with random weights, and transformers' class with the same ones."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from torch import Tensor

from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.conversion.choose import family_of
from pipeline.conversion.family import Facts
from pipeline.conversion.links import Link, exported, links
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.task_export import CHOICES, features, their_inputs, their_scores
from pipeline.conversion.task_heads import about, with_head
from pipeline.objectives.batches import Batch
from pipeline.tasks.framing import Framed
from pipeline.tasks.registry import class_of, task_of
from pipeline.tasks.settings import TaskSettings
from pipeline.tasks.task import Feature, Task
from tests.pipeline.conversion import references as ref

LABELS = {"labels": {"no": 5, "perhaps": 3, "yes": 4}}
LEARNED: dict[str, dict[str, Any]] = {
    "classification": LABELS,
    "regression": {"mean": 1.0, "deviation": 2.0},
    "tagging": {"labels": {"B-A": 1, "I-A": 1, "O": 5}, "entities": True},
    "question_answering": {"unanswerable": 1, "questions": 2},
    "multiple_choice": {"choices": CHOICES, "answers": {"0": 1}},
}
SHORT = 8
"""Tokens that every sample has where none may be padding."""
CASES = [
    *((name, kind) for name in ("bert", "roberta") for kind in LEARNED),
    *((name, "classification") for name in ("gpt2", "opt", "bloom", "falcon-7b", "llama", "t5", "bart")),
]


class Case(NamedTuple):
    """A model with a head, its batch, and how its weights are called on the other side."""

    config: PipelineConfig
    task: Task
    features: list[Feature]
    links: list[Link]
    weights: dict[str, Tensor]
    class_name: str
    settings: dict[str, Any]

    @property
    def batch(self) -> Batch:
        """The arrays of a training batch."""
        return self.task.batch(self.features, self.features)


def make(name: str, kind: str, tokenizer: Path, **parallel: Any) -> Case:
    """A case of `CASES` with a tokenizer of a file."""
    vocabulary = Vocabulary(tokenizer)
    config = ref.config(name, **parallel)
    from pipeline.tasks.registry import TASKS

    settings: TaskSettings = TASKS[kind].settings_class()
    if kind == "question_answering":
        settings = settings.model_copy(update={"question_tokens": 4})
    assert class_of(settings).name == kind
    task = task_of(settings, LEARNED[kind], config, vocabulary)
    facts = Facts(vocabulary.size, vocabulary.pad, vocabulary.bos, vocabulary.eos, ref.POSITIONS)
    family = with_head(family_of(config.model, facts), task)
    ours = shapes(config, vocabulary.size, task.head)
    weights = {path: ref.weight(path, torch.Size(shape), name) for path, shape in ours.items()}
    some = [wanted(task, one) for one in features(task)]
    start = {"decoder_start_token_id": task.frame.start} if config.model.encoder_depth else {}
    theirs = family.write(config.model, facts) | about(task) | start
    return Case(
        config, task, some, links(family, config.model, facts, ours), weights, family.classes[0], theirs
    )


def wanted(task: Task, feature: Feature) -> Feature:
    """A feature with something that is wanted of it."""
    row, length = feature.row, feature.length
    words = [2, min(5, length - 2), -1]
    targets: dict[str, Any] = {
        "classification": row % 3,
        "regression": row - 0.5,
        "tagging": [row % 3, 1, 2],
        "question_answering": (2 + row, 3 + row),
        "multiple_choice": row % 2,
    }
    texts = feature.texts
    if task.name == "question_answering":  # theirs counts padding among the places where answers may stand
        texts = tuple(Framed(one.tokens[:SHORT], one.types[:SHORT], one.second) for one in texts)
    return Feature(row, texts, targets[task.name], about=words if task.name == "tagging" else None)


class Theirs(NamedTuple):
    """What transformers computes: scores as ours, loss, gradients under their names and the whole norm."""

    scores: Any
    loss: float
    gradients: dict[str, Any]
    norm: float


@cache
def theirs(name: str, kind: str, tokenizer: Path) -> Theirs:
    """The class of transformers on the case's batch."""
    case = make(name, kind, tokenizer)
    settings = transformers.AutoConfig.for_model(case.settings.pop("model_type"), **case.settings)
    settings._attn_implementation = "eager"
    model = getattr(transformers, case.class_name)(settings).eval()
    state = dict(exported(case.links, lambda path: case.weights[path]))
    report = model.load_state_dict(state, strict=False)
    assert not report.unexpected_keys, report.unexpected_keys
    tied = {"encoder.embed_tokens", "decoder.embed_tokens"}
    missing = [one for one in report.missing_keys if not any(part in one for part in tied)]
    assert not [one for one in missing if "position_ids" not in one and "attn.bias" not in one], missing
    model.tie_weights()
    batch = {key: torch.from_numpy(np.asarray(one)) for key, one in case.batch.items()}
    outputs = model(**their_inputs(case.task, batch), **labels_of(case.task, batch))
    outputs.loss.backward()
    gradients = {path: one.grad for path, one in model.named_parameters() if one.grad is not None}
    norm = torch.cat([one.flatten() for one in gradients.values()]).norm()
    scores = their_scores(case.task, outputs).detach().numpy()
    found = {path: one.numpy() for path, one in gradients.items()}
    return Theirs(scores, float(outputs.loss.detach()), found, float(norm))


def labels_of(task: Task, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a batch wants, as transformers' classes take it."""
    if task.name == "question_answering":
        return {"start_positions": batch["targets"], "end_positions": batch["ends"]}
    if task.name == "tagging":
        return {"labels": batch["targets"].masked_fill(batch["weights"] == 0, -100)}
    return {"labels": batch["targets"]}
