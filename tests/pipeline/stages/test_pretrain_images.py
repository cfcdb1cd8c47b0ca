"""Stages that learn from images: one world runs a chain of them, as a recipe would."""

from pathlib import Path
from typing import Any

import pytest

from data_prep.contract.receipt import read_receipt
from data_prep.contract.settings import InputError
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import checkpoint_folder
from pipeline.stages.training import Training
from tests.distributed.processes import run_world
from tests.pictures import write_pictures
from tests.pipeline.stages.in_process import recipe_graph, train

TOWER = {"layers": 2, "hidden_size": 32, "heads": 2, "image_size": 32, "patch_size": 8}
TRAIN = {
    "steps": 4,
    "global_batch": 8,
    "micro_batch": 4,
    "warmup_steps": 1,
    "validate_every": 4,
    "validation_samples": 12,
    "checkpoint_every": 4,
}
CLASSES = {"kind": "image_classes", "mixup": 0.2, "cutmix": 1.0, "label_smoothing": 0.1}


def plain(folder: Path, **stages: Any) -> dict[str, Any]:
    """A recipe of stages on one dataset of pictures."""
    return {
        "name": "images",
        "vision": TOWER | {"stochastic_depth": 0.2},
        "train": TRAIN,
        "data": {"prefetch": 0},
        "stages": {name: {"data": str(folder / "pictures")} | about for name, about in stages.items()},
    }


STAGES: dict[str, dict[str, Any]] = {
    "vit": {"kind": "pretrain_images", "objective": CLASSES},
    "larger": {
        "kind": "pretrain_images",
        "from": "vit",
        "objective": {"kind": "image_classes"},
        "vision": {"image_size": 48},
    },
    "probe": {
        "kind": "pretrain_images",
        "from": "vit",
        "objective": {"kind": "image_classes"},
        "probe": True,
    },
    "mae": {
        "kind": "pretrain_images",
        "objective": {"kind": "masked_patches"},
        "vision": {
            "positions": "sinusoidal",
            "decoder_layers": 1,
            "decoder_hidden_size": 16,
            "decoder_heads": 2,
        },
    },
    "tuned": {"kind": "pretrain_images", "from": "mae", "objective": {"kind": "image_classes"}},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of them trained, on two data-parallel ranks."""
    folder = tmp_path_factory.mktemp("images")
    write_pictures(folder / "pictures", train=40, validation=12)
    run_world(2, train, folder, plain(folder, **STAGES), list(STAGES))
    return folder / "work"


def test_each_leaves_what_it_measured(trained: Path) -> None:
    for name in STAGES:
        receipt = read_receipt(trained / name)
        assert receipt is not None
        assert receipt.counts["validated"] == 12
        has = "validation_accuracy" in receipt.counts
        assert has == (name != "mae")
        assert not (trained / name / "tokenizer.model").exists()


def test_a_probe_leaves_the_tower_as_it_was(trained: Path) -> None:
    before, after = (Checkpoint(checkpoint_folder(trained / name, 4)) for name in ("vit", "probe"))
    for name in before.index.tensors:
        same = bool((before.weight(name) == after.weight(name)).all())
        assert same == name.startswith("image."), name


def test_a_larger_image_has_more_positions(trained: Path) -> None:
    shapes = [
        Checkpoint(checkpoint_folder(trained / name, 4)).index.tensors["image.positions.weight"].shape
        for name in ("vit", "larger")
    ]
    assert shapes == [[17, 32], [37, 32]]


def plan(folder: Path, about: dict[str, Any]) -> None:
    """What a stage would train."""
    found = recipe_graph(folder, plain(folder, one=about), work="other")
    kind = found.kind(found.stages["one"])
    assert isinstance(kind, Training)
    kind.job(found.stages["one"])


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ({"vision": {"patch_size": 5}}, "not divisible by patch_size 5"),
        ({"vision": {"classes": 3}}, "vision.classes is 3, and .* has 6 classes"),
        ({"objective": {"kind": "causal_lm"}}, "causal_lm is not learned by this kind of stage"),
        ({"micro_batch": 1}, "mixup mixes pairs, and a micro_batch of 1 has no pairs"),
        ({"probe": True}, "no run in `from` whose tower is probed"),
        ({"objective": {"kind": "contrastive"}}, "vision.joint_size is missing"),
        ({"parallel": {"tensor": 2, "sequence": True}}, "shares 17 tokens of an image"),
        ({"from": "other", "vision": {"heads": 4}}, "vision.heads is 4 and 2 in "),
    ],
)
def test_what_does_not_fit(stage: dict[str, Any], sentence: str, trained: Path) -> None:
    given = dict(stage)
    if given.get("from"):
        given["from"] = str(trained / "vit")
    about = {"kind": "pretrain_images", "objective": CLASSES} | given
    with pytest.raises(InputError, match=sentence):
        plan(trained.parent, about)
