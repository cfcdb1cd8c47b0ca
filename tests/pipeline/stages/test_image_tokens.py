"""Pictures to tokens and texts to pictures, on models with drawn weights, beside the plain computation."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.pictures import ImageDataset
from data_prep.contract.receipt import Receipt, write_receipt
from data_prep.contract.report import Lines, Picture
from data_prep.contract.settings import InputError
from data_prep.contract.shapes import SHAPES, caption, draw, scene_of
from launch.show import trace
from pipeline.checkpoints.run_folder import IDENTITY, checkpoint_folder, write_config
from pipeline.config import DataConfig, ModelConfig, ObjectiveConfig, PipelineConfig, VisionConfig
from pipeline.config.view import ViewConfig
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.step_zero import write_checkpoint
from pipeline.costs import vision as costs
from pipeline.costs.flops import padded_vocabulary
from pipeline.data.images.stream import ImageStream
from pipeline.evaluation.images.sampled import Studio
from pipeline.evaluation.images.text_to_image import best_of
from pipeline.evaluation.images.tokenizer import open_tokenizer
from pipeline.generation.sampling import Sampling, choose, streams
from pipeline.models.initialize import draw as drawn
from pipeline.objectives.draws import combine
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.vision.image_tokens import behind_texts, prompts
from pipeline.objectives.vision.token_maps import as_map, numbers_of
from pipeline.stages.pretrain_images import PretrainImages
from tests.pictures import write_pictures
from tests.pipeline.stages.in_process import recipe_graph
from tests.pipeline.tiny import vocabulary

VISION: dict[str, Any] = {
    **{"layers": 1, "hidden_size": 16, "heads": 2, "image_size": 32, "patch_size": 8},
    **{"class_token": False, "pooling": "mean", "quantiser": {"codes": 12, "code_size": 4}},
    **{"decoder_layers": 1, "decoder_hidden_size": 16, "decoder_heads": 2},
}
RUNS: dict[str, dict[str, Any]] = {
    "codes": {"objective": {"kind": "quantised_patches"}},
    "small": {"objective": {"kind": "image_tokens"}},
    "large": {"objective": {"kind": "image_tokens"}, "model": {"layers": 2}},
    "clip": {"objective": {"kind": "contrastive"}, "model": {"architecture": "decoder"}},
}


def config(name: str) -> PipelineConfig:
    about = RUNS[name]
    model = {"architecture": "encoder_decoder", "layers": 1, "hidden_size": 16, "heads": 2}
    clip = {"joint_size": 8, "quantiser": None} if name == "clip" else {}
    return PipelineConfig(
        name=name,
        vision=VisionConfig(**VISION | clip),
        model=ModelConfig(**model | about.get("model", {})),
        objective=ObjectiveConfig(**about["objective"]),
        data={"sequence_length": 48, "view": {"crop": "centre", "flip": 0.0}},
        train={"steps": 3, "global_batch": 8, "micro_batch": 8},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, and runs with drawn weights."""
    place = tmp_path_factory.mktemp("tokens")
    texts = [caption(scene_of(0, "train", number)) for number in range(200)]
    words = vocabulary(place / TOKENIZER, texts=texts)
    write_pictures(place / "pictures", train=10, validation=6, tokenizer=words)
    for name in RUNS:
        run, given = place / name, config(name)
        run.mkdir()
        write_config(run, given)
        (run / TOKENIZER).write_bytes(words.content)
        found = shapes(given, words.size if name != "codes" else 0)
        weights = {path: drawn(path, 0, torch.Size(shape), 0.5) for path, shape in found.items()}
        write_checkpoint(checkpoint_folder(run, 0), weights.items())
        write_receipt(run, Receipt(stage=name, fingerprint=name, config={}))
        count = sum(int(np.prod(shape)) for shape in found.values())
        assert count == costs.parameters(given, padded_vocabulary(words.size))
    asked(place, {"kind": "tokenize_images", "of": str(place / "codes"), "judged": 5}, "tokens", "pictures")
    return place


def asked(place: Path, about: dict[str, Any], name: str, data: str) -> tuple[Path, Any, Any]:
    """The folder of a stage that has run, what it found, and its part of the report."""
    graph = recipe_graph(place, {"name": "said", "stages": {name: about | {"data": str(place / data)}}})
    stage = graph.stages[name]
    receipt = graph.kind(stage).run(stage, lambda line: None)
    return stage.folder, receipt.counts, graph.kind(stage).report(stage.folder, receipt)


def tokens(place: Path) -> ImageDataset:
    return ImageDataset(next(place.rglob("tokens/manifest.json")).parent)


def test_maps_are_the_numbers_of_the_pictures_in_their_order(folder: Path) -> None:
    pictures, maps = ImageDataset(folder / "pictures"), tokens(folder)
    tokenizer = open_tokenizer(folder / "codes")
    assert maps.manifest.pixels["tokens"] == 12
    assert maps.vocabulary.sha256 == pictures.vocabulary.sha256
    for split, count in (("train", 10), ("validation", 6)):
        assert (maps.rows(split)["id"] == pictures.rows(split)["id"]).all()
        assert (maps.rows(split)["label"] == pictures.rows(split)["label"]).all()
        whole = ViewConfig(size=32, crop="centre", flip=0.0)
        pixels = ImageStream(pictures, split, whole, 32, 0, train=False).stored(0, count).pixels
        read = ImageStream(maps, split, whole, 4, 0, train=False).stored(0, count)
        assert (numbers_of(read.pixels) == tokenizer.numbers(pixels)).all()
        for row in range(count):
            assert maps.sample(split, row)[1] == pictures.sample(split, row)[1]


def test_ceiling_and_codebook_are_in_the_report(folder: Path) -> None:
    where, found, report = asked(
        folder, {"kind": "tokenize_images", "of": str(folder / "codes")}, "again", "pictures"
    )
    assert found["rows"] == {"train": 10, "validation": 6}
    assert found["figures"]["validation, colour"]["of"] == 6
    tokenizer = open_tokenizer(folder / "codes")
    stream = ImageStream(ImageDataset(folder / "pictures"), "validation", ViewConfig(), 32, 0, train=False)
    pixels = stream.stored(0, 6).pixels
    numbers = tokenizer.numbers(pixels)
    shares = np.bincount(numbers.ravel(), minlength=12) / numbers.size
    entropy = -sum(share * np.log(share) for share in shares if share)
    assert found["usage"]["validation"]["code_perplexity"] == pytest.approx(np.exp(entropy))
    apart = (pixels.astype(float) - tokenizer.pictures(numbers)) / 255
    assert found["errors"]["validation"] == pytest.approx((apart**2).mean(), rel=1e-5)
    (sheet,) = (part for one in report.sections for part in one.parts if isinstance(part, Picture))
    assert Image.open(sheet.path).size[0] == 3 * (6 * 34 + 2)
    assert (where / "tokenizer.model").is_file()


def test_a_batch_is_texts_and_tokens_shifted_right(folder: Path) -> None:
    words = tokens(folder).vocabulary
    count = 2000
    numbers = np.random.default_rng(0).integers(0, 12, (count, 4))
    keys = combine(3, np.arange(count))
    real = np.arange(count) != 1
    samples = ImageSamples(
        as_map(numbers, 2), np.zeros(count, np.int64), ("a red circle",) * count, keys, keys, real
    )
    found = behind_texts(samples, words, length=32, start=12, dropped=0.1)
    assert found["tokens"][0].tolist() == [12, *numbers[0, :3].tolist()]
    assert (found["targets"] == numbers).all()
    assert found["weights"].sum() == 4 * (count - 1)
    ids = words.encode("a red circle")
    told = found["encoder_segments"].sum(1)
    assert set(told.tolist()) == {1, len(ids) + 1}
    assert 0.08 < (told == 1).mean() < 0.12
    whole = found["encoder_tokens"][int(np.argmax(told > 1))]
    assert whole[: len(ids) + 1].tolist() == [*ids, words.eos]
    assert found["encoder_tokens"][int(np.argmax(told == 1)), 0] == words.eos
    plain = ImageSamples(samples.pixels, samples.labels, samples.captions, keys, keys, real, train=False)
    assert (behind_texts(plain, words, 32, 12, 0.1)["encoder_segments"].sum(1) == len(ids) + 1).all()


def studio(folder: Path) -> Studio:
    from data_prep.contract.stages import Source

    def source(name: str) -> Source:
        return Source(name, str(folder / name))

    maps = Source("tokens", str(tokens(folder).folder))
    inputs = {"of": (source("small"), source("large")), "codes": (source("codes"),)}
    return Studio.opened(inputs | {"judge": (source("clip"),), "data": (maps,)}, 1.0, 0, 7)


def by_hand(made: Studio, captions: list[str], guidance: float) -> list[list[int]]:
    """Each image alone, read anew from its beginning for every token, with and without its text."""
    model, found = made.by_name["large"].model, []
    sources = prompts(captions, model.vocabulary, 48)
    draws = streams(sources, 16, 7)
    for row, source in enumerate(sources):
        said = [12]
        for number in range(16):
            logits = [
                model.whole({"encoder_tokens": torch.tensor([one]), "tokens": torch.tensor([said])})["logits"]
                for one in (source, [model.vocabulary.eos])
            ]
            told, untold = (one[-1, :, :12].float() for one in logits)
            mixed = untold + guidance * (told - untold)
            said.append(int(choose(mixed, Sampling(), draws[row : row + 1, number])))
        found.append(said[1:])
    return found


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_what_is_said_is_what_is_computed_without_a_cache(folder: Path, guidance: float) -> None:
    made = studio(folder)
    captions = ["a red circle", "a large blue ring left of a small green cross", "a red circle"]
    with torch.inference_mode():
        wanted = by_hand(made, captions, guidance)
    found = made.by_name["large"].tokens(captions, guidance, Sampling(seed=7))
    assert found.tolist() == wanted
    assert wanted[0] != wanted[2]
    alone = made.by_name["large"].tokens(captions[1:2], guidance, Sampling(seed=7))
    assert alone[0].tolist() == wanted[1]


@torch.no_grad()
def test_the_best_picture_is_the_nearest_in_the_joint_space(folder: Path) -> None:
    made = studio(folder)
    assert made.judge is not None
    scenes = [scene_of(3, "train", number) for number in range(6)]
    pixels = np.stack([draw(one) for one in scenes])
    texts = [caption(scenes[0]), caption(scenes[4])]
    features = made.judge.image_tower({"pixels": torch.from_numpy(pixels)})["image_features"]
    near = torch.nn.functional.normalize(features, dim=1) @ made.judge.text_features(texts).t()
    wanted = [int(near[:3, 0].argmax()), int(near[3:, 1].argmax())]
    assert best_of(made.judge, pixels, texts, 3).tolist() == wanted


def test_pictures_of_texts_are_judged_by_size_weight_and_step(folder: Path) -> None:
    about = {"of": [str(folder / "small"), str(folder / "large")], "codes": str(folder / "codes")}
    how = {"prompts": 5, "guidance": [1.0, 2.0], "candidates": 2, "shown": 3, "scale": 1}
    stage = {"kind": "sample_images", "judge": str(folder / "clip")} | about | how
    maps = str(tokens(folder).folder.relative_to(folder))
    where, found, report = asked(folder, stage, "samples", maps)
    kinds = ("small, validation", "large, validation", "large, validation, guidance 2")
    names = [f"{kind}: shape" for kind in (*kinds, "large, validation, best of 2")]
    assert [name for name in found["figures"] if name.endswith(": shape")] == names
    for one in found["figures"].values():
        assert one["of"] == 5
        assert one["low"] - 1e-9 <= one["share"] <= one["high"] + 1e-9
        assert 0.0 <= one["shuffled"] <= 1.0
    assert found["figures"]["small, validation: shape"]["chance"] == pytest.approx(1 / len(SHAPES))
    assert found["models"][0]["parameters"] < found["models"][1]["parameters"]
    parts = [part for one in report.sections for part in one.parts]
    sheets = [Image.open(part.path).size for part in parts if isinstance(part, Picture)]
    assert sheets == [(3 * 34 + 2, rows * 34 + 2) for rows in (2, 2, 1)]
    (chart,) = (part for part in parts if isinstance(part, Lines))
    assert [len(line.x) for line in chart.lines] == [2, 2]
    assert (where / "results.json").is_file()


def test_what_does_not_go_together_is_refused(folder: Path) -> None:
    maps = str(tokens(folder).folder.relative_to(folder))
    wrong = {"kind": "tokenize_images", "of": str(folder / "clip")}
    with pytest.raises(InputError, match="it has learned contrastive; quantised_patches turns"):
        asked(folder, wrong, "wrong", "pictures")
    about = {"kind": "sample_images", "of": [str(folder / "small")], "codes": str(folder / "codes")}
    with pytest.raises(InputError, match="pictures, where their tokens are expected"):
        asked(folder, about, "wrong", "pictures")
    with pytest.raises(InputError, match="a judge reads texts, too"):
        asked(folder, about | {"judge": str(folder / "codes")}, "wrong", maps)
    with pytest.raises(InputError, match="it has learned quantised_patches; image_tokens makes"):
        asked(folder, about | {"of": [str(folder / "codes")]}, "wrong", maps)


def test_a_map_is_read_whole_whatever_the_view(folder: Path) -> None:
    maps = str(tokens(folder).folder)
    stage = {"kind": "pretrain_images", "data": maps, "objective": {"kind": "image_tokens"}, "steps": 1}
    recipe = {"name": "said", "vision": VISION, "model": config("small").model.model_dump(mode="json")}
    recipe |= {"data": {"sequence_length": 48, "view": {"flip": 0.5}}, "stages": {"one": stage}}
    graph = recipe_graph(folder, recipe)
    job = PretrainImages().job(graph.stages["one"])
    assert (job.config.data.view.size, job.config.data.view.crop, job.config.data.view.flip) == (
        4,
        "centre",
        0,
    )


def test_a_step_is_told_as_texts_and_the_tokens_behind_them(folder: Path) -> None:
    maps = tokens(folder)
    data = DataConfig(sequence_length=48, view=ViewConfig(size=4, crop="centre", flip=0.0))
    write_config(folder / "small", config("small").model_copy(update={"data": data}))
    identity = {"stage": "small", "fingerprint": "small", "dataset": str(maps.folder)}
    (folder / "small" / IDENTITY).write_text(json.dumps(identity))
    stored = {}
    for row in range(10):
        pixels = np.array(Image.open(io.BytesIO(maps.sample("train", row)[0])))
        stored[int(maps.rows("train")["id"][row])] = numbers_of(pixels[None])
    for sample in trace(folder / "small", 1)["samples"]:
        (one,) = sample["excerpts"]
        assert sample["says"] == " ".join(map(str, stored[one["document"]][0]))
        assert sample["reads"] in ("", one["text"])
