"""A DistilBERT as a stage: the teacher's layers, its losses, and transformers' class of what comes out."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from data_prep.contract.settings import InputError
from pipeline.checkpoints.format import Checkpoint, complete
from pipeline.conversion.export import export
from pipeline.tracking import metrics
from tests.distributed.processes import run_world
from tests.pipeline import tiny
from tests.pipeline.stages import in_process

TRAIN = {
    "steps": 2,
    "global_batch": 4,
    "micro_batch": 2,
    "validate_every": 2,
    "validation_samples": 4,
    "learning_rate": 1e-9,
    "minimum_learning_rate": 0.0,
    "weight_decay": 0.0,
}


def recipe(folder: Path, **student: Any) -> dict[str, Any]:
    """A BERT of five layers, and a student of three that hardly moves from where it starts."""
    distilled = {
        "kind": "distill",
        "data": str(folder / "dataset"),
        "teacher": "teacher",
        "model": {"layers": 3},
    }
    distilled |= {"share": 5 / 7, "positions": "all", "cosine": 1 / 7, "from_teacher": True}
    distilled["model"] = {"layers": 3, "token_types": 0}
    return {
        "model": {"preset": "bert-tiny", "layers": 5, "max_positions": 32},
        "objective": {"kind": "masked_lm"},
        "data": {"sequence_length": 32},
        "train": TRAIN,
        "stages": {
            "teacher": {"kind": "pretrain", "data": str(folder / "dataset"), "learning_rate": 1e-3},
            "student": distilled | TRAIN | student,
        },
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages."""
    folder = tmp_path_factory.mktemp("distilled")
    tiny.dataset(folder / "dataset", {"train": tiny.sentences(60), "validation": tiny.sentences(10, 1)})
    for name in ("teacher", "student"):
        run_world(1, in_process.train, folder, recipe(folder), [name])
    return folder


def test_a_distilbert_starts_as_its_teacher_and_goes_out_as_one(trained: Path, tmp_path: Path) -> None:
    teacher, student = (Checkpoint(complete(trained / "work" / name)[-1]) for name in ("teacher", "student"))
    for ours, theirs in ((0, 0), (1, 2), (2, 4)):
        for part in ("attention.qkv.weight", "mlp.down.bias", "mlp_norm.weight"):
            found, wanted = student.weight(f"blocks.{ours}.{part}"), teacher.weight(f"blocks.{theirs}.{part}")
            torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0.0)
    assert "types.weight" not in student.index.tensors
    last = metrics.read(trained / "work" / "student" / metrics.METRICS)[-1]
    for name in ("loss", "validation_loss"):
        prefix = name.removesuffix("loss")
        parts = [last[f"{prefix}{one}"] for one in ("divergence", "objective_loss", "cosine_distance")]
        assert last[name] == pytest.approx((5 * 4 * parts[0] + 2 * parts[1] + parts[2]) / 7, rel=1e-5)
        assert 0 < parts[2] < 2
    shown = export(trained / "work" / "student", tmp_path / "out", lambda line: None)
    assert (shown["model_type"], shown["compared_with"]) == ("distilbert", "transformers")
    transformers.DistilBertForMaskedLM.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ({"model": {"layers": 3, "hidden_size": 32}}, "cosine compares hidden states of one width"),
        ({"model": {"layers": 3, "hidden_size": 32}, "cosine": 0.0}, "model.hidden_size is 32, and 64 in"),
        ({"model": {"layers": 6}}, "model.layers 6 is more than the 5 of"),
        ({"from": "teacher", "model": {}}, "a student starts with the weights of `from` or of its teacher"),
    ],
)
def test_students_that_cannot_start_as_their_teacher_are_told_so(
    student: dict[str, Any], said: str, trained: Path
) -> None:
    plain = recipe(trained, **student)
    found = in_process.recipe_graph(trained, plain)
    stage = found.stages["student"]
    with pytest.raises(InputError, match=said):
        found.kind(stage).job(stage)
