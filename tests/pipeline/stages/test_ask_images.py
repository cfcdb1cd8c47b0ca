"""From a tower and a language model to one that sees and is asked, as a recipe has it, in one world."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.pictures import ImageDataset
from data_prep.contract.receipt import read_receipt
from data_prep.contract.report import Table
from data_prep.contract.settings import InputError
from launch.generate import about_images
from launch.show import trace
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import checkpoint_folder, read_config
from pipeline.conversion.export import export
from pipeline.conversion.imports import import_folder
from pipeline.evaluation.images.answering import answers, answers_about
from pipeline.evaluation.images.loading import open_images, pictures
from pipeline.evaluation.images.shots import images_of, pages, said, with_others
from pipeline.generation.load import load_model
from pipeline.generation.sampling import GREEDY
from pipeline.objectives.vision.pages import written
from pipeline.stages.training import Training
from tests.distributed.processes import run_world
from tests.pictures import png, write_pictures
from tests.pipeline.stages.in_process import recipe_graph, train
from tests.pipeline.tiny import vocabulary

TOWER = {
    "layers": 3,
    "hidden_size": 16,
    "heads": 2,
    "image_size": 32,
    "patch_size": 8,
    "joint_size": 8,
    "embedding_norm": True,
    "patch_bias": False,
    "activation": "quick_gelu",
    "norm_epsilon": 1e-5,
}
WORDS = {
    "layers": 2,
    "hidden_size": 24,
    "heads": 2,
    "positions": "rope",
    "norm": "rmsnorm",
    "activation": "swiglu",
    "bias": False,
}
TRAIN = {
    "steps": 2,
    "global_batch": 8,
    "micro_batch": 4,
    "warmup_steps": 1,
    "validate_every": 2,
    "validation_samples": 4,
    "checkpoint_every": 2,
}
ANSWERS: dict[str, Any] = {"kind": "image_answers", "questions": 2}
FROZEN = ["image.*", "words.*", "blocks.*", "norm.*"]
STAGES: dict[str, dict[str, Any]] = {
    "clip": {
        "kind": "pretrain_images",
        "objective": {"kind": "contrastive"},
        "global_batch": 4,
        "model": {"layers": 1, "hidden_size": 16, "heads": 2, "positions": "learned", "norm": "layernorm"}
        | {"activation": "gelu", "bias": True},
    },
    "words": {"kind": "pretrain_images", "objective": ANSWERS | {"blind": True}},
    "joined": {
        "kind": "pretrain_images",
        "from": "words",
        "tower": "clip",
        "objective": ANSWERS,
        "freeze": FROZEN,
    },
    "seeing": {
        "kind": "pretrain_images",
        "from": "joined",
        "objective": ANSWERS,
        "freeze": ["image.*"],
    },
    "pages": {
        "kind": "pretrain_images",
        "from": "words",
        "tower": "clip",
        "objective": {"kind": "image_pages", "pictures": 3},
        "vision": {"latents": 4, "resampler_layers": 1},
        "freeze": FROZEN,
    },
    "why": {
        "kind": "pretrain_images",
        "tower": "clip",
        "objective": {"kind": "image_rationales"},
        "model": {"architecture": "encoder_decoder"},
        "freeze": ["image.*"],
    },
    "shots": {"kind": "few_shot_images", "of": "pages", "pictures": 3, "shots": [0, 2]},
    "asked": {"kind": "ask_images", "of": "seeing", "blind": "words", "pictures": 3, "shown": 2},
}


def plain(folder: Path, **stages: Any) -> dict[str, Any]:
    """A recipe of stages on one dataset of pictures."""
    return {
        "name": "seeing",
        "vision": TOWER,
        "model": WORDS,
        "train": TRAIN,
        "data": {"prefetch": 0, "sequence_length": 96, "view": {"crop": "centre", "flip": 0.0}},
        "stages": {name: {"data": str(folder / "pictures")} | about for name, about in stages.items()},
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of them done."""
    folder = tmp_path_factory.mktemp("asked")
    words = vocabulary(folder / TOKENIZER)
    write_pictures(folder / "pictures", train=24, validation=6, tokenizer=words, questions=True)
    run_world(1, train, folder, plain(folder, **STAGES), list(STAGES))
    return folder


def weights(folder: Path, name: str) -> Checkpoint:
    return Checkpoint(checkpoint_folder(folder / "work" / name, 2))


def changed(folder: Path, before: str, after: str, prefix: str) -> bool:
    """Whether any weight of this prefix differs between two runs."""
    one, other = weights(folder, before), weights(folder, after)
    names = [name for name in other.index.tensors if name.startswith(prefix)]
    assert names, prefix
    return any(not bool((one.weight(name) == other.weight(name)).all()) for name in names)


def test_each_stage_trains_what_it_says(trained: Path) -> None:
    assert not any(name.startswith("image.") for name in weights(trained, "words").index.tensors)
    for prefix in ("image.blocks.1", "image.patches"):
        assert not changed(trained, "clip", "seeing", prefix), "the tower stays as it was"
    assert "image.blocks.2.mlp.up.weight" not in weights(trained, "seeing").index.tensors
    assert not changed(trained, "words", "joined", "blocks.")
    assert changed(trained, "joined", "seeing", "blocks.")
    assert changed(trained, "joined", "seeing", "projector.")
    for prefix in ("blocks.", "words.", "norm."):
        assert not changed(trained, "words", "pages", prefix), "the language model stays as it was"
    for prefix in ("image.blocks.1", "image.patches"):
        assert not changed(trained, "clip", "why", prefix)
    assert any(name.startswith("fusion.gate") for name in weights(trained, "why").index.tensors)
    gates = [name for name in weights(trained, "pages").index.tensors if name.endswith("_gate")]
    assert len(gates) == 4
    assert all(float(weights(trained, "pages").weight(name)) != 0 for name in gates), "which it begins with"
    for name in ("words", "joined", "seeing", "pages", "why"):
        receipt = read_receipt(trained / "work" / name)
        assert receipt is not None
        assert receipt.counts["parameters"] == sum(
            len(weights(trained, name).weight(one).flatten()) for one in weights(trained, name).index.tensors
        )


def test_everything_is_asked_three_ways(trained: Path) -> None:
    folder = trained / "work" / "asked"
    found = json.loads((folder / "results.json").read_text())
    dataset = ImageDataset(trained / "pictures")
    wanted = [one for row in range(3) for one in dataset.questions("validation", row)]
    total = {row["questions"]: row["of"] for row in found["rows"]}
    assert total["validation, yes or no"] == sum(one.answer in ("yes", "no") for one in wanted)
    assert total["validation, open"] + total["validation, yes or no"] == len(wanted)
    assert all({*row["right"]} == {"the picture", "another picture", "no picture"} for row in found["rows"])
    assert Image.open(folder / "answers.png").size[1] > 200
    receipt = read_receipt(folder)
    assert receipt is not None
    kind = recipe_graph(trained, plain(trained, **STAGES)).kind(
        recipe_graph(trained, plain(trained, **STAGES)).stages["asked"]
    )
    [table] = [part for part in kind.report(folder, receipt).sections[0].parts if isinstance(part, Table)]
    assert len(table.head) == len(table.rows[0])


def test_files_are_asked_about(trained: Path, tmp_path: Path) -> None:
    """A picture's file is seen as the dataset's pictures are, and several one behind the other."""
    model, dataset = open_images(trained / "work" / "seeing"), ImageDataset(trained / "pictures")
    [samples] = pictures(model, dataset, "validation", 2)
    paths = [tmp_path / f"{row}.png" for row in range(2)]
    for path, pixels in zip(paths, samples.pixels, strict=True):
        path.write_bytes(png(pixels))
    texts = ["what colour is it?", "where is it?"]
    for row, path in enumerate(paths):
        same = replace(samples, pixels=samples.pixels[[row, row]])
        assert answers_about(model, [path], texts, 16, GREEDY) == answers(model, same, texts)
    written_out = list[str]()
    found = about_images(trained / "work" / "seeing", paths, texts, 4, GREEDY, written_out.append)
    assert len(found) == 2
    assert "".join(written_out) == "\n\n".join(found) + "\n"
    (tmp_path / "none.png").write_bytes(b"no picture")
    for wrong, sentence in (([tmp_path / "none.png"], "a JPEG, PNG"), (paths * 3, "reads fewer than 96")):
        with pytest.raises(InputError, match=sentence):
            answers_about(model, wrong, texts, 16, GREEDY)
    with pytest.raises(InputError, match="give --image FILE"):
        load_model(trained / "work" / "seeing")


def test_a_step_is_told_with_its_texts(trained: Path) -> None:
    """`bloomery inspect RUN --step`: every picture of a page, and what is learned of it."""
    for name, pictures_of in (("seeing", 1), ("pages", 3)):
        found = trace(trained / "work" / name, 2)["samples"]
        assert len(found) == 8
        dataset = ImageDataset(trained / "pictures")
        words = dataset.vocabulary
        known = {int(row["id"]): number for number, row in enumerate(dataset.rows("train"))}
        for sample in found:
            assert len(sample["excerpts"]) == pictures_of
            asked = dataset.questions("train", known[sample["excerpts"][0]["document"]])
            known_answers = [words.decode(words.encode(one.answer)) for one in asked]
            assert any(sample["says"].startswith(one) for one in known_answers)
            assert sample["says"].split()[0] in sample["reads"]
        assert len({sample["reads"] for sample in found}) > 1
    dataset = ImageDataset(trained / "pictures")
    words = dataset.vocabulary
    known = {int(row["id"]): number for number, row in enumerate(dataset.rows("train"))}
    for sample in trace(trained / "work" / "why", 2)["samples"]:
        asked = dataset.questions("train", known[sample["excerpts"][0]["document"]])
        said = {
            tuple(words.decode(words.encode(text)) for text in (one.question, one.rationale)) for one in asked
        }
        assert (sample["reads"], sample["says"]) in said


def test_pages_are_asked_behind_examples(trained: Path) -> None:
    """The answers with a cache, row beside row, are those of the whole page computed at once."""
    found = json.loads((trained / "work" / "shots" / "results.json").read_text())
    assert [(row["shots"], row["by"]) for row in found["rows"]] == [(0, 0), (0, 1), (2, 0), (2, 1)]
    model = open_images(trained / "work" / "pages")
    samples = with_others(model, ImageDataset(trained / "pictures"), "validation", 3, 2)
    asked = pages(samples, 2, [])
    assert asked
    answers_to = said(model, samples, asked, 2)
    for page, answer in list(zip(asked, answers_to, strict=True))[:3]:
        tokens, last, _ = written(model.vocabulary, [*page.shown, ""])
        pixels = torch.from_numpy(images_of(samples, page.row, 2, 0)[None])
        ids: list[int] = []
        for _ in range(16):
            row = torch.tensor([[*tokens, *ids]])
            seen = torch.tensor([[*last, *[last[-1]] * len(ids)]])
            with torch.inference_mode():
                logits = model.whole({"tokens": row, "pixels": pixels, "last_image": seen})["logits"]
            ids.append(int(logits[-1, 0, : model.vocabulary.size].argmax()))
            if ids[-1] == model.vocabulary.eos:
                break
        whole = model.vocabulary.decode([one for one in ids if one != model.vocabulary.eos]).strip()
        assert answer == whole


def test_answers_do_not_depend_on_what_is_asked_beside(trained: Path) -> None:
    """A question that is shorter than another of its batch is padded, and its images move with it."""
    model = open_images(trained / "work" / "seeing")
    [samples] = pictures(model, ImageDataset(trained / "pictures"), "validation", 2)
    texts = ["what colour is it?", "is there a large red circle left of a small blue ring? and a ring?"]
    together = answers(model, samples, texts)
    alone = [
        answers(model, replace(samples, pixels=samples.pixels[row : row + 1]), [text])[0]
        for row, text in enumerate(texts)
    ]
    assert together == alone


def plan(folder: Path, about: dict[str, Any]) -> None:
    """What a stage would train."""
    found = recipe_graph(folder, plain(folder, **STAGES, one=about))
    kind = found.kind(found.stages["one"])
    assert isinstance(kind, Training)
    kind.job(found.stages["one"])


def test_transformers_reads_it_and_it_comes_back(trained: Path, tmp_path: Path) -> None:
    """LLaVA's folder; both models are run on texts with two images, there and back."""
    run, said = trained / "work" / "seeing", list[str]()
    about = export(run, tmp_path / "folder", said.append)
    assert about["class"] == "LlavaForConditionalGeneration"
    assert about["difference"] < 1e-5
    back = import_folder(tmp_path / "folder", tmp_path / "back", said.append)
    assert back["difference"] < 1e-5
    ours, there = weights(trained, "seeing"), Checkpoint(checkpoint_folder(tmp_path / "back", 0))
    assert {*ours.index.tensors} == {*there.index.tensors}
    for name in ours.index.tensors:
        if name != "words.table.weight":  # whose rows that fill it up are of no token
            assert torch.equal(ours.weight(name), there.weight(name)), name
    assert read_config(tmp_path / "back").objective.kind == "image_answers"
    with pytest.raises(InputError, match="has no image tower"):
        export(trained / "work" / "words", tmp_path / "blind", said.append)


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ({"from": "clip", "objective": ANSWERS}, "it has learned contrastive; causal_lm or image_answers"),
        ({"tower": "clip", "objective": ANSWERS | {"blind": True}}, "clip would be of no use"),
        ({"objective": ANSWERS | {"pictures": 9}}, "no room for words behind the 144 patches"),
        ({"objective": ANSWERS, "vision": {"layers": 1}}, "last but one layer"),
        ({"objective": ANSWERS, "model": {"architecture": "encoder_decoder"}}, "architecture decoder"),
    ],
)
def test_what_does_not_go_together(stage: dict[str, Any], sentence: str, trained: Path) -> None:
    one = {"kind": "pretrain_images"} | stage
    with pytest.raises(InputError, match=sentence):
        plan(trained, one)
