"""Small datasets of pictures for tests: drawn shapes, written without a preparation."""

import io
from pathlib import Path

from PIL import Image

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.picture_shards import write_shard
from data_prep.contract.pictures import Picture, write_manifest
from data_prep.contract.pixels import VERSION
from data_prep.contract.questions import Question
from data_prep.contract.shapes import SHAPES, asked, caption, draw, scene_of
from data_prep.contract.vocabulary import Vocabulary


def png(pixels: object) -> bytes:
    """The file of a picture without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")  # type: ignore[arg-type]
    return buffer.getvalue()


def questions_of(seed: int, split: str, number: int) -> list[Question]:
    """What is asked about a picture of shapes."""
    return asked(scene_of(seed, split, number), seed, split, number)


def drawn(seed: int, split: str, number: int, questions: bool = False) -> Picture:
    """A picture of shapes with its caption and the class of its first shape, perhaps with questions."""
    scene = scene_of(seed, split, number)
    name = f"{seed}-{split}-{number}"
    return Picture(
        image=png(draw(scene)),
        suffix="png",
        width=32,
        height=32,
        id=hash((seed, number)) % 2**63 + (split == "train"),
        captions=(caption(scene), caption(scene, place=True)),
        label=SHAPES.index(scene.things[0].shape),
        about={"source": name},
        questions=questions_of(seed, split, number) if questions else (),
    )


def write_pictures(
    folder: Path,
    train: int,
    validation: int,
    seed: int = 1,
    shards: int = 2,
    tokenizer: Vocabulary | None = None,
    questions: bool = False,
) -> Path:
    """A finished dataset of so many pictures in `train` and `validation`, perhaps with a tokenizer."""
    splits = {}
    for split, count in (("train", train), ("validation", validation)):
        pictures = [drawn(seed, split, number, questions) for number in range(count)]
        cuts = [count * index // shards for index in range(shards + 1)]
        splits[split] = [
            write_shard(folder, split, index, pictures[cuts[index] : cuts[index + 1]], questions)
            for index in range(shards)
        ]
    if tokenizer:
        (folder / TOKENIZER).write_bytes(tokenizer.content)
    pixels = {"version": VERSION, "size": 32}
    fields = ["image", "caption", "label", *(["questions"] if questions else [])]
    write_manifest(folder, splits, fields, SHAPES, pixels, {})
    return folder
