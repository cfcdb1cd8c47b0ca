"""Fine-tuned models compute what transformers' classes of the same weights do: scores, losses, gradients."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.conversion.links import exported
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack
from tests.pipeline import tiny
from tests.pipeline.conversion import task_references as ref


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    tiny.vocabulary(path)
    return path


def ours(case: ref.Case) -> tuple[Any, float, dict[str, Tensor]]:
    """Scores, the mean loss and gradients by our names."""
    stack = Stack(model_layers(case.config, case.task.vocabulary.size, torch.float32, case.task.head)).eval()
    named = dict(stack.named())
    with torch.no_grad():
        for path, parameter in named.items():
            parameter.copy_(case.weights[path])
    batch = {key: torch.from_numpy(np.asarray(one)) for key, one in case.batch.items()}
    labels = {key: batch.pop(key) for key in case.task.labels}
    labels["weights"] = labels["weights"] / labels["weights"].sum()
    outputs = stack(batch)
    scores = outputs["scores"].detach()
    loss, _ = case.task(outputs, labels)
    loss.backward()
    gradients = {
        path: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for path, parameter in named.items()
    }
    return scores, float(loss.detach()), gradients


@pytest.mark.parametrize(("name", "kind"), ref.CASES)
def test_scores_losses_and_gradients_are_those_of_transformers(name: str, kind: str, tokenizer: Path) -> None:
    """Scores and losses within 1e-5 of the largest, gradients within 1e-4; padding sees nothing."""
    case, wanted = ref.make(name, kind, tokenizer), ref.theirs(name, kind, tokenizer)
    scores, loss, gradients = ours(case)
    if case.task.form in ("tokens", "spans"):
        real = case.batch["segments"].astype(bool)
        found, expected = scores.transpose(0, 1).numpy()[real], wanted.scores[real]
    else:
        found, expected = scores.numpy(), wanted.scores
    assert np.abs(found - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())
    assert loss == pytest.approx(wanted.loss, rel=1e-5)
    for path, gradient in exported(case.links, lambda path: gradients[path]):
        there = wanted.gradients.get(path)
        expected = np.zeros(gradient.shape, np.float32) if there is None else there
        apart = np.abs(gradient.numpy() - expected).max()
        assert apart < 1e-4 * max(1e-2, np.abs(expected).max()), path
