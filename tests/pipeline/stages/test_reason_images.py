"""Rationales and answers of models with drawn weights, beside the plain computation; what is counted."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.pictures import ImageDataset
from data_prep.contract.receipt import Receipt, write_receipt
from data_prep.contract.report import Picture, Table
from data_prep.contract.settings import InputError
from pipeline.checkpoints.run_folder import checkpoint_folder, write_config
from pipeline.config import ModelConfig, ObjectiveConfig, PipelineConfig, VisionConfig
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.step_zero import write_checkpoint
from pipeline.evaluation.images.asking import lead
from pipeline.evaluation.images.loading import ImageModel, open_images, pictures
from pipeline.evaluation.images.reasoning import lead_over_pictures, said
from pipeline.models.initialize import draw as drawn
from pipeline.objectives.pictures import ImageSamples
from pipeline.stages.pretrain_images import PretrainImages
from tests.pictures import questions_of, write_pictures
from tests.pipeline.stages.in_process import recipe_graph
from tests.pipeline.tiny import vocabulary

VISION = {"layers": 2, "hidden_size": 16, "heads": 2, "image_size": 32, "patch_size": 8}
MODEL = {"architecture": "encoder_decoder", "layers": 1, "hidden_size": 16, "heads": 2}
MODEL |= {"tied_output": False}  # tied, drawn weights say the token before again
LENGTH, ASKED = 40, 4
RUNS = {
    "why": {"says": "rationale"},
    "also": {"says": "rationale"},
    "then": {"says": "answer"},
    "once": {"says": "answer_at_once"},
    "blind_why": {"says": "rationale", "blind": True},
    "blind_then": {"says": "answer", "blind": True},
    "llava": {"kind": "image_answers"},
}
WAYS = ["generated rationales", "the dataset's rationales", "at once", "text alone"]


def config(name: str) -> PipelineConfig:
    decoder = {"architecture": "decoder"} if name == "llava" else {}
    return PipelineConfig(
        name=name,
        vision=VisionConfig(**VISION),
        model=ModelConfig(**MODEL | decoder),
        objective=ObjectiveConfig(**{"kind": "image_rationales"} | RUNS[name]),
        data={"sequence_length": LENGTH, "view": {"crop": "centre", "flip": 0.0}},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with questions, and runs with drawn weights."""
    place = tmp_path_factory.mktemp("reasons")
    asked = [one for number in range(80) for one in questions_of(0, "train", number)]
    words = vocabulary(
        place / TOKENIZER, texts=[text for one in asked for text in (one.question, one.rationale)]
    )
    write_pictures(place / "pictures", train=4, validation=6, tokenizer=words, questions=True)
    write_pictures(place / "plain", train=4, validation=6, tokenizer=words)
    for name in RUNS:
        run, given = place / name, config(name)
        run.mkdir()
        write_config(run, given)
        (run / TOKENIZER).write_bytes(words.content)
        weights = {
            path: drawn(path, 0, torch.Size(one), 0.5) for path, one in shapes(given, words.size).items()
        }
        write_checkpoint(checkpoint_folder(run, 0), weights.items())
        write_receipt(run, Receipt(stage=name, fingerprint=name, config={}, counts={"steps": 0}))
    return place


def reasoned(
    place: Path, names: list[str], data: str = "pictures", work: str = "work"
) -> tuple[Path, Any, Any]:
    """The folder of the stage, what it found, and its part of the report."""
    about = {
        "kind": "reason_images",
        "of": [str(place / name) for name in names],
        "pictures": ASKED,
        "shown": 2,
    }
    stages = {"reasoned": about | {"data": str(place / data)}}
    graph = recipe_graph(place, {"name": "reasons", "stages": stages}, work=work)
    stage = graph.stages["reasoned"]
    receipt = graph.kind(stage).run(stage, lambda line: None)
    return stage.folder, receipt.counts, graph.kind(stage).report(stage.folder, receipt)


@pytest.fixture(scope="module")
def done(folder: Path) -> tuple[Path, Any, Any]:
    return reasoned(folder, ["why", "then", "once", "blind_why", "blind_then"])


def lines(done: tuple[Path, Any, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (done[0] / "rationales.jsonl").read_text().splitlines()]


def test_everything_is_asked_in_every_way_and_counted(folder: Path, done: tuple[Path, Any, Any]) -> None:
    _, found, report = done
    kept = lines(done)
    dataset = ImageDataset(folder / "pictures")
    wanted = [one for row in range(ASKED) for one in dataset.questions("validation", row)]
    assert sorted(one["question"] for one in kept) == sorted(one.question for one in wanted)
    assert {one["picture"] for one in kept} == {*dataset.rows("validation")["id"][:ASKED].tolist()}
    assert all([*one["answers"]] == WAYS for one in kept)
    assert all([*one["rationales"]] == ["generated rationales", "text alone"] for one in kept)
    closed = [one for one in kept if one["answer"] in ("yes", "no")]
    row = next(row for row in found["rows"] if row["questions"] == "validation, yes or no")
    assert row["of"] == len(closed)
    for way in WAYS:
        right = sum(one["answers"][way].casefold() == one["answer"] for one in closed)
        assert found["figures"][f"validation, yes or no, {way}"]["share"] == pytest.approx(
            right / len(closed)
        )
    says = row["rationales"]["rationales with the answer"]["share"]
    assert says == pytest.approx(
        sum(one["answer"] in re.split(r"\W+", one["rationales"][WAYS[0]].casefold()) for one in closed)
        / len(closed)
    )
    told = [(one["one"], one["other"]) for one in row["leads"]]
    assert told == [(WAYS[0], WAYS[2]), (WAYS[0], WAYS[3]), (WAYS[1], WAYS[0])]
    tables = [part for one in report.sections for part in one.parts if isinstance(part, Table)]
    assert [len(table.head) for table in tables] == [len(table.rows[0]) for table in tables] == [6, 4, 5]
    (sheet,) = (part for one in report.sections for part in one.parts if isinstance(part, Picture))
    assert Image.open(sheet.path).size == (900, 286)
    assert len(report.headlines) == len(WAYS)


def greedy(model: ImageModel, text: str, pixels: np.ndarray | None) -> str:
    """The likeliest tokens one by one, each with the whole model anew."""
    words = model.vocabulary
    read = words.encode(text)[: LENGTH - 1]
    ids = [words.pad]
    seen = {} if pixels is None else {"pixels": torch.from_numpy(pixels)[None]}
    while len(ids) <= LENGTH and ids[-1] != words.eos:
        inputs = {"encoder_tokens": torch.tensor([[*read, words.eos]]), "tokens": torch.tensor([ids])}
        with torch.inference_mode():
            logits = model.whole(inputs | seen)["logits"]
        ids.append(int(logits[-1, 0, : words.size].argmax()))
    return words.decode([one for one in ids[1:] if one != words.eos]).strip()


def test_what_is_said_is_what_is_computed_without_a_cache(folder: Path, done: tuple[Path, Any, Any]) -> None:
    """The second model reads what the first one said; blind ones say the same whatever the picture."""
    models = {name: open_images(folder / name) for name in RUNS}
    dataset = ImageDataset(folder / "pictures")
    [samples] = pictures(models["why"], dataset, "validation", ASKED)
    by_id = dict(zip(samples.ids.tolist(), samples.pixels, strict=True))
    for one in lines(done)[::5]:
        pixels, question = by_id[one["picture"]], one["question"]
        why = greedy(models["why"], question, pixels)
        assert one["rationales"]["generated rationales"] == why
        assert one["answers"]["at once"] == greedy(models["once"], question, pixels)
        assert one["answers"]["text alone"] == greedy(
            models["blind_then"], f"{question} {one['rationales']['text alone']}", None
        )
        for way, rationale in zip(WAYS[:2], (why, one["rationale"]), strict=True):
            assert one["answers"][way] == greedy(models["then"], f"{question} {rationale}", pixels)
    for way in ("generated rationales", "text alone"):
        assert len({one["rationales"][way] for one in lines(done)}) > 4, "what is compared is not one text"
    assert len({one["answers"]["generated rationales"] for one in lines(done)}) > 4
    texts = {(one["question"], one["rationales"]["text alone"]) for one in lines(done)}
    assert len({question for question, _ in texts}) == len(texts)


def test_answers_do_not_depend_on_what_is_asked_beside(folder: Path) -> None:
    model = open_images(folder / "then")
    [samples] = pictures(model, ImageDataset(folder / "pictures"), "validation", 2)
    questions, rationales = ["what colour is it?", "where is it?"], ["", "there is a large red circle."]
    together = said(model, samples, questions, rationales)
    one, other = (ImageSamples.merged([np.arange(1)], [part(samples, row)]) for row in range(2))
    assert said(model, one, questions[:1], rationales[:1]) == together[:1]
    assert said(model, other, questions[1:], rationales[1:]) == together[1:]


def part(samples: ImageSamples, row: int) -> ImageSamples:
    """One of the pictures."""
    cut = slice(row, row + 1)
    return ImageSamples(
        *(samples.pixels[cut], samples.labels[cut], samples.captions[cut]),
        *(samples.keys[cut], samples.ids[cut], samples.real[cut]),
        questions=samples.questions[cut],
    )


def test_differences_vary_over_pictures() -> None:
    """With one question a picture it is the plain interval; the same answer thrice is no further evidence."""
    differences = [1, 0, -1, 0, 1, 1, 0, 1]
    numbers = list(range(len(differences)))
    once = lead_over_pictures(differences, numbers)
    assert once == pytest.approx(lead(differences))
    assert lead_over_pictures(differences * 3, numbers * 3) == pytest.approx(once)
    assert lead(differences * 3)[1] > once[1] + 0.1


@pytest.mark.parametrize(
    ("names", "data", "sentence"),
    [
        (["why"], "pictures", "no run there says the answer"),
        (["why", "then", "also"], "pictures", "also: it says the rationale as .*why does"),
        (["why", "llava"], "pictures", "it has learned image_answers; image_rationales is expected"),
        (["blind_why", "blind_then"], "pictures", "says the rationale; .* not blind is expected"),
        (["why", "then"], "plain", "nothing is asked about its pictures"),
    ],
)
def test_what_does_not_go_together(names: list[str], data: str, sentence: str, folder: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        reasoned(folder, names, data, work="wrong")


@pytest.mark.parametrize(
    ("stage", "data", "sentence"),
    [
        ({"model": {"architecture": "decoder"}}, "pictures", "image_rationales needs .* encoder_decoder"),
        ({"objective": {"pictures": 2}}, "pictures", "image_rationales has one picture a question"),
        ({"from": "llava"}, "pictures", "learned image_answers; image_rationales or span_corruption"),
        ({"tower": "why", "objective": {"blind": True}}, "pictures", "would be of no use"),
    ],
)
def test_what_is_not_trained(stage: dict[str, Any], data: str, sentence: str, folder: Path) -> None:
    about = {"kind": "pretrain_images", "data": str(folder / data)} | stage
    about |= {key: str(folder / stage[key]) for key in ("from", "tower") if key in stage}
    about["objective"] = {"kind": "image_rationales"} | stage.get("objective", {})
    recipe = {"name": "reasons", "vision": VISION, "model": MODEL, "data": {"sequence_length": LENGTH}}
    with pytest.raises(InputError, match=sentence):
        PretrainImages().job(recipe_graph(folder, recipe | {"stages": {"one": about}}).stages["one"])
