"""Stages that learn to make pictures out of noise and make some, told by a text encoder in every layout."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data_prep.contract.dataset import TOKENIZER, Dataset
from data_prep.contract.pictures import ImageDataset
from data_prep.contract.receipt import Receipt, read_receipt, write_receipt
from data_prep.contract.report import Lines, Picture
from data_prep.contract.settings import InputError
from launch.show import describe
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import checkpoint_folder, read_config, write_config
from pipeline.config import ModelConfig, ObjectiveConfig, PipelineConfig
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.step_zero import write_checkpoint
from pipeline.generation.diffusion.guided import Generator, Told
from pipeline.generation.diffusion.loading import open_denoiser, open_text_encoder
from pipeline.generation.diffusion.samplers import Sampler
from pipeline.models.initialize import draw
from pipeline.objectives.draws import combine
from pipeline.objectives.vision.noise import remaining
from pipeline.stages.training import Training
from tests.distributed.processes import run_world
from tests.pictures import write_pictures
from tests.pipeline.stages.in_process import recipe_graph, train
from tests.pipeline.tiny import vocabulary

SIZES = {
    "layers": 2,
    "hidden_size": 32,
    "heads": 2,
    "image_size": 16,
    "patch_size": 4,
    "class_token": False,
    "pooling": "mean",
    "positions": "sinusoidal",
}
TRAIN = {
    "steps": 3,
    "global_batch": 8,
    "micro_batch": 4,
    "warmup_steps": 1,
    "validate_every": 3,
    "validation_samples": 12,
    "checkpoint_every": 2,
    "average": 0.9,
}
LARGER = {"vision": {"image_size": 32, "patch_size": 8}, "objective": {"diffusion": {"low_size": 16}}}


def plain(folder: Path, **stages: Any) -> dict[str, Any]:
    """A recipe of stages on one dataset of pictures."""
    common = {"data": str(folder / "pictures")}
    return {
        "name": "diffusion",
        "vision": SIZES,
        "objective": {"kind": "diffusion", "diffusion": {"condition": "text"}},
        "train": TRAIN,
        "data": {"prefetch": 0, "sequence_length": 16},
        "stages": {name: common | about for name, about in stages.items()},
    }


def told(folder: Path, **more: Any) -> dict[str, Any]:
    """A stage that is told captions."""
    return {"kind": "pretrain_diffusion", "text": str(folder / "t5")} | more


def write_run(run: Path, config: PipelineConfig, pieces: int) -> None:
    """A run of drawn weights."""
    run.mkdir()
    write_config(run, config)
    found = shapes(config, pieces)
    weights = {path: draw(path, 0, torch.Size(shape), 0.1) for path, shape in found.items()}
    write_checkpoint(checkpoint_folder(run, 0), weights.items())
    write_receipt(run, Receipt(stage=run.name, fingerprint=run.name, config={}, counts={"steps": 0}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, an encoder and a decoder with drawn weights, and denoisers trained in several layouts."""
    place = tmp_path_factory.mktemp("diffusion")
    words = vocabulary(place / TOKENIZER)
    write_pictures(place / "pictures", train=24, validation=12, tokenizer=words)
    sizes = {"layers": 2, "encoder_layers": 2, "hidden_size": 32, "heads": 2, "feed_forward_size": 32}
    config = PipelineConfig(
        name="t5",
        model=ModelConfig(preset="t5-1.1-tiny", **sizes),  # type: ignore[arg-type]
        objective=ObjectiveConfig(kind="span_corruption"),
        data={"sequence_length": 16},
    )
    write_run(place / "t5", config, words.size)
    (place / "t5" / TOKENIZER).write_bytes(words.content)
    classes = {"kind": "pretrain_diffusion", "objective": {"diffusion": {"condition": "label"}}}
    alone = {"told": told(place), "larger": told(place, **LARGER), "classes": classes}
    cut = {
        "stages": told(place, parallel={"pipeline": 2}),
        "tensor": told(place, parallel={"tensor": 2}),
    }
    recipe = plain(place, **alone, **cut)
    for name in recipe["stages"]:
        run_world(2 if name in cut else 1, train, place, recipe, [name])
    return place


def test_a_text_encoder_tells_the_same_in_every_layout(folder: Path) -> None:
    losses = {}
    for name in ("told", "stages", "tensor"):
        receipt = read_receipt(folder / "work" / name)
        assert receipt is not None
        losses[name] = receipt.counts["validation_loss"]
    for name, loss in losses.items():
        assert loss == pytest.approx(losses["told"], rel=1e-5), name


@pytest.mark.slow
def test_a_training_that_goes_on_is_the_one_that_was_not_ended(folder: Path) -> None:
    before, again = folder / "work" / "told", folder / "again" / "told"
    shutil.copytree(before, again)
    shutil.rmtree(checkpoint_folder(again, 3))
    (again / "receipt.json").unlink()
    recipe = plain(folder, told=told(folder))
    run_world(1, partial(train, work="again"), folder, recipe, ["told"])
    one, other = (Checkpoint(checkpoint_folder(run, 3)) for run in (before, again))
    for name in one.index.tensors:
        assert torch.equal(one.weight(name), other.weight(name)), name


def test_a_run_is_described(folder: Path) -> None:
    found = describe(folder / "work" / "told")
    assert found["objective"] == "the noise in a picture behind 1000 steps of noise, told its caption"
    assert "tokens_per_sample" not in found


def made(folder: Path, **about: Any) -> tuple[Path, dict[str, Any], Any]:
    """The folder of a stage that has run, what it found, and its part of the report."""
    about = {"kind": "generate_images", "prompts": 4, "each": 1, "steps": 2, "shown": 4, "scale": 1} | about
    graph = recipe_graph(folder, plain(folder, made=about))
    stage = graph.stages["made"]
    kind = graph.kind(stage)
    receipt = kind.run(stage, lambda line: None)
    return stage.folder, receipt.counts, kind.report(stage.folder, receipt)


def test_pictures_of_captions_are_made_larger_and_judged(folder: Path) -> None:
    work, text = folder / "work", str(folder / "t5")
    given = {"of": str(work / "told"), "upsampler": str(work / "larger"), "text": text, "guidance": [1, 2]}
    where, found, report = made(folder, **given)
    assert found["at"] == [2, 3]
    figures = found["figures"]
    assert figures["validation, guidance 2, caption"]["of"] == 4
    assert all(one["true"] == 1.0 for name, one in figures.items() if name.endswith(("colour", "shape")))
    with Image.open(where / "guidance.png") as sheet:
        assert sheet.size == (4 * 34 + 2, 3 * 34 + 2)
        pixels = np.asarray(sheet)
    true = ImageDataset(folder / "pictures")
    assert true.has("caption")
    assert (pixels[2:34, 2:34] == (30, 30, 30)).all(2).mean() > 0.3, "the true pictures are above"
    parts = report.sections[0].parts
    assert sum(isinstance(part, Picture) for part in parts) == 2
    assert sum(isinstance(part, Lines) for part in parts) == 2


def test_guidance_goes_on_from_what_is_said_untold_to_what_is_said(folder: Path) -> None:
    drawn = read_config(folder / "work" / "told")
    plain_weights = drawn.train.model_copy(update={"average": 0.0})
    write_run(folder / "drawn", drawn.model_copy(update={"train": plain_weights}), 0)
    denoiser = open_denoiser(folder / "drawn")
    generator = Generator(denoiser, open_text_encoder(folder / "t5", denoiser.device))
    sampler = Sampler(remaining(denoiser.diffusion), "velocity", 1, threshold="none")
    captions, keys = ["adds two", "reads the file of a list"], combine(3, np.arange(2))

    def first(weight: float, texts: list[str]) -> Any:
        found = generator.pictures(Told(texts), keys, sampler, weight)
        return found.astype(np.float32)

    told, untold, guided = first(1, captions), first(1, ["", ""]), first(3, captions)
    assert np.abs(told - untold).max() > 3
    inside = (guided > 0) & (guided < 255) & (told > 0) & (told < 255) & (untold > 0) & (untold < 255)
    assert inside.mean() > 0.1
    np.testing.assert_allclose(guided[inside], (untold + 3 * (told - untold))[inside], atol=3.1)


def test_classes_are_asked_for_by_their_names(folder: Path) -> None:
    _, found, _ = made(folder, of=str(folder / "work" / "classes"), guidance=[2])
    assert found["captions"][0].split()[0] in ("a", "an")
    assert {name.split(", ")[-1] for name in found["figures"]} == {"shape", "caption"}


def test_states_of_a_text_do_not_depend_on_its_padding(folder: Path) -> None:
    encoder = open_text_encoder(folder / "t5", torch.device("cpu"))
    texts = ["adds two", "returns the list of a file"]
    both, alone = encoder.encoded(texts, 16), encoder.encoded(texts[:1], 16)
    length = int(both["encoder_segments"][0].sum())
    torch.testing.assert_close(both["text_states"][:length, 0], alone["text_states"][:length, 0])


def test_captions_become_texts(folder: Path) -> None:
    graph = recipe_graph(folder, plain(folder, texts={"kind": "captions"}))
    stage = graph.stages["texts"]
    receipt = graph.kind(stage).run(stage, lambda line: None)
    pictures, texts = ImageDataset(folder / "pictures"), Dataset(stage.folder)
    wanted = [one for row in range(24) for one in pictures.sample("train", row)[1]]
    assert receipt.counts["train_documents"] == len(wanted) == 48
    found = [document.tolist() for block in texts.blocks("train") for document in block.documents()]
    assert found == [list(one) for one in texts.vocabulary.encode_batch(wanted)]


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ({"text": None}, "condition text and a run as `text` go together"),
        ({"objective": {"diffusion": {"text_size": 7}}}, "text_size is 7, and 32 in "),
        ({"from": "larger"}, "vision.image_size is 16 and 32 in "),
        ({"from": "t5"}, "it has learned span_corruption; a run of pretrain_diffusion is expected"),
        ({"text": "work/told"}, "is a model of images; the encoder of an encoder_decoder reads captions"),
        ({"kind": "pretrain_images", "text": None}, "learned by a stage of another kind"),
    ],
)
def test_what_does_not_fit(stage: dict[str, Any], sentence: str, folder: Path) -> None:
    about = told(folder) | stage
    if about["text"] is None:
        del about["text"]
    elif "text" in stage:
        about["text"] = str(folder / str(about["text"]))
    if "from" in about:
        about["from"] = str(folder / ("t5" if about["from"] == "t5" else f"work/{about['from']}"))
    with pytest.raises(InputError, match=sentence):
        plan(folder, about)


def plan(folder: Path, about: dict[str, Any]) -> None:
    """What a stage would train."""
    found = recipe_graph(folder, plain(folder, one=about), work="other")
    kind = found.kind(found.stages["one"])
    assert isinstance(kind, Training)
    kind.job(found.stages["one"])
