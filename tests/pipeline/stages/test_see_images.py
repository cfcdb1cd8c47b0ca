"""Stages that ask models of images, on models with drawn weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.pictures import ImageDataset
from data_prep.contract.receipt import Receipt, write_receipt
from data_prep.contract.report import Picture
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.run_folder import CLASSES, checkpoint_folder, write_config
from pipeline.config import ModelConfig, ObjectiveConfig, PipelineConfig, VisionConfig
from pipeline.conversion.export import export
from pipeline.conversion.imports import import_folder
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.step_zero import write_checkpoint
from pipeline.evaluation.images.loading import open_images
from pipeline.models.initialize import draw
from pipeline.reports.page import render
from tests.pictures import write_pictures
from tests.pipeline.stages.in_process import recipe_graph
from tests.pipeline.tiny import vocabulary

SIZES = {"layers": 1, "hidden_size": 32, "heads": 2, "image_size": 32, "patch_size": 8}
TOWERS: dict[str, dict[str, Any]] = {
    "image_classes": {"classes": 6},
    "masked_patches": {
        "positions": "sinusoidal",
        "decoder_layers": 1,
        "decoder_hidden_size": 16,
        "decoder_heads": 2,
    },
    "contrastive": {
        "joint_size": 8,
        "embedding_norm": True,
        "patch_bias": False,
        "activation": "quick_gelu",
        "norm_epsilon": 1e-5,
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, and a run of each objective."""
    place = tmp_path_factory.mktemp("seeing")
    words = vocabulary(place / TOKENIZER)
    write_pictures(place / "pictures", train=24, validation=20, tokenizer=words)
    for kind, more in TOWERS.items():
        config = PipelineConfig(
            name=kind,
            vision=VisionConfig(**SIZES, **more),
            model=ModelConfig(layers=1, hidden_size=32, heads=2, activation="quick_gelu", norm_epsilon=1e-5),
            data={"sequence_length": 48},
            objective=ObjectiveConfig(kind=kind),  # type: ignore[arg-type]
            train={"steps": 3, "global_batch": 8, "micro_batch": 8},
        )
        run = place / kind
        run.mkdir()
        write_config(run, config)
        (run / CLASSES).write_text(json.dumps(list("abcdef")))
        (run / TOKENIZER).write_bytes(words.content)
        found = shapes(config, words.size if kind == "contrastive" else 0)
        weights = {path: draw(path, 0, torch.Size(shape), 0.1) for path, shape in found.items()}
        write_checkpoint(checkpoint_folder(run, 0), weights.items())
        write_receipt(run, Receipt(stage=kind, fingerprint=kind, config={}))
    return place


def asked(folder: Path, kind: str, of: str, **settings: Any) -> tuple[Path, Any, Any]:
    """The folder of a stage that has run, what it found, and its part of the report."""
    about = {"kind": kind, "of": str(folder / of), "data": str(folder / "pictures")} | settings
    graph = recipe_graph(folder, {"name": "seeing", "stages": {kind: about}})
    stage = graph.stages[kind]
    receipt = graph.kind(stage).run(stage, lambda line: None)
    return stage.folder, receipt.counts, graph.kind(stage).report(stage.folder, receipt)


def test_images_and_texts(folder: Path) -> None:
    said = {"templates": ["a {}", "a small {}"], "relations": ["above", "left of", "right of", "below"]}
    _, found, report = asked(folder, "zero_shot", "contrastive", **said)
    figures = found["figures"]
    for one in figures.values():
        assert 0.0 <= one["low"] <= one["share"] <= one["high"] <= 1.0
    assert figures["validation, zero-shot top-1"]["chance"] == pytest.approx(1 / 6)
    assert {"validation, image to text R@1", "validation, text to image R@10"} <= set(figures)
    assert figures["validation, caption before its sides exchanged"]["of"] > 0
    assert report.headlines


def test_templates_name_one_place(folder: Path) -> None:
    with pytest.raises(InputError, match="'a picture' has not exactly one"):
        asked(folder, "zero_shot", "contrastive", templates=["a picture"])
    with pytest.raises(InputError, match="a model that reads no texts"):
        asked(folder, "zero_shot", "image_classes", pictures=7)


def test_features_are_rows_of_parquet(folder: Path) -> None:
    where, found, _ = asked(folder, "embed_images", "contrastive")
    assert found == {"rows": {"train": 24, "validation": 20}, "width": 8}
    table = pq.read_table(where / "validation.parquet")
    model, dataset = open_images(folder / "contrastive"), ImageDataset(folder / "pictures")
    assert table["label"].to_pylist() == dataset.rows("validation")["label"].tolist()
    features = np.array(table["features"].to_pylist())
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, rtol=1e-5)
    texts = model.text_features(table["caption"].to_pylist())
    assert texts.shape == (20, 8)


def test_restored_pictures_are_a_sheet_in_the_report(folder: Path) -> None:
    where, found, report = asked(folder, "restore_images", "masked_patches", pictures=4, scale=2)
    assert 0.0 < found["guess"] < 1.0
    assert found["loss"] > found["guess"]
    with Image.open(where / "restored.png") as sheet:
        assert sheet.size == (2 * (4 * 34 + 2), 2 * (3 * 34 + 2))
        rows = np.asarray(sheet)[::2, ::2]
    first = rows[2:34, 2:34]
    dataset = ImageDataset(folder / "pictures")
    assert first.shape == (32, 32, 3)
    seen, made = rows[36:68, 2:34], rows[70:102, 2:34]
    grey = (seen == 128).all(2)
    assert grey.mean() == pytest.approx(0.75, abs=0.02)
    assert (np.abs(made.astype(int) - first)[~grey] <= 1).all()
    assert len(dataset.rows("validation")) == 20
    part = next(one for one in report.sections[0].parts if isinstance(one, Picture))
    assert "data:image/png;base64," in render(part, {})
    with pytest.raises(InputError, match="it has learned image_classes"):
        asked(folder, "restore_images", "image_classes", pictures=3)


def test_baselines_see_the_same_images(folder: Path) -> None:
    _, found, _ = asked(folder, "image_baselines", "image_classes")
    assert [name.split(",")[0] for name in found["figures"]] == ["linear", "convolutional"]
    assert all(one["of"] == 20 for one in found["figures"].values())


def test_a_clip_goes_to_transformers_and_back(folder: Path, tmp_path: Path) -> None:
    about = export(folder / "contrastive", tmp_path / "out", lambda line: None)
    assert about["class"] == "CLIPModel"
    assert about["difference"] < 1e-5
    back = import_folder(tmp_path / "out", tmp_path / "back", lambda line: None)
    assert back["compared_with"] == "transformers"
    ids = [
        Vocabulary(one / TOKENIZER).encode("a red ring")
        for one in (folder / "contrastive", tmp_path / "back")
    ]
    assert ids[0] == ids[1]
