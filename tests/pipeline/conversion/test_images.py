"""Image models to transformers' folders and back: every number, and both models on the same pixels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data_prep.contract.settings import InputError
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import CLASSES, checkpoint_folder, read_config, write_config
from pipeline.config import VisionConfig
from pipeline.conversion.export import export
from pipeline.conversion.imports import import_folder
from pipeline.conversion.step_zero import write_checkpoint
from pipeline.conversion.vision.export import PROCESSOR
from tests.pipeline.vision import references as ref


def run_of(name: str, folder: Path, **vision: Any) -> Path:
    """A run that holds a reference model."""
    folder.mkdir()
    config = ref.config(name)
    assert config.vision is not None
    config = config.model_copy(update={"vision": VisionConfig(**config.vision.model_dump() | vision)})
    write_config(folder, config)
    (folder / CLASSES).write_text(json.dumps(list("abcdefg")))
    write_checkpoint(checkpoint_folder(folder, 0), ref.weights(name).items())
    return folder


@pytest.mark.parametrize("name", ["vit", "swin", "mae"])
def test_there_and_back(name: str, tmp_path: Path) -> None:
    run, said = run_of(name, tmp_path / "run"), list[str]()
    about = export(run, tmp_path / "folder", said.append)
    assert about["compared_with"] == "transformers"
    assert about["difference"] < 1e-5
    back = import_folder(tmp_path / "folder", tmp_path / "back", said.append)
    assert back["compared_with"] == "transformers"
    config, there = read_config(run), read_config(tmp_path / "back")
    assert config.vision is not None
    assert there.vision is not None
    free = {"preset", "decoder_layers", "decoder_hidden_size", "decoder_heads", "feed_forward_size"}
    free |= {"layers", "heads"} if name == "swin" else set()
    assert config.vision.model_dump(exclude=free) == there.vision.model_dump(exclude=free)
    weights = Checkpoint(checkpoint_folder(tmp_path / "back", 0)).weight
    for path, wanted in ref.weights(name).items():
        assert torch.equal(weights(path), wanted), path
    if name in ref.CLASSIFY:
        assert json.loads((tmp_path / "back" / CLASSES).read_text()) == list("abcdefg")


def test_transformers_reads_pictures_as_we_do(tmp_path: Path) -> None:
    """Its processor of an exported folder makes of a picture what our first layer does."""
    transformers = pytest.importorskip("transformers")
    from pipeline.models.vision.pixels import normalised

    export(run_of("vit", tmp_path / "run"), tmp_path / "folder", lambda line: None)
    assert (tmp_path / "folder" / PROCESSOR).is_file()
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "folder", use_fast=False)
    pictures = [Image.fromarray(one) for one in ref.pixels()]
    theirs = processor(pictures, return_tensors="pt")["pixel_values"]
    vision = ref.config("vit").vision
    assert vision is not None
    ours = normalised(torch.from_numpy(ref.pixels()), vision).permute(0, 3, 1, 2)
    np.testing.assert_allclose(theirs.numpy(), ours.numpy(), atol=1e-6)


def test_what_transformers_has_not(tmp_path: Path) -> None:
    run = run_of("vit", tmp_path / "run", pooling="mean")
    with pytest.raises(InputError, match=r"ViTForImageClassification has no vision\.pooling 'mean'"):
        export(run, tmp_path / "folder", lambda line: None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden_act": "selu"}, "hidden_act 'selu' is not supported"),
        ({"num_hidden_layers": 3}, "vit.encoder.layer.2.*is missing"),
        ({"hidden_size": -1}, "hidden_size is -1"),
        ({"patch_size": 5}, "not divisible by patch_size 5"),
        ({"image_size": 32}, "has the shape"),
        ({"num_channels": 1}, "num_channels 1 is not supported"),
        ({"id2label": [1]}, "id2label"),
    ],
)
def test_folders_that_do_not_fit(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    export(run_of("vit", tmp_path / "run"), tmp_path / "folder", lambda line: None)
    path = tmp_path / "folder" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=sentence):
        import_folder(tmp_path / "folder", tmp_path / "back", lambda line: None)
    assert not (tmp_path / "back").exists()
