"""Small datasets of pictures for tests: drawn shapes, written without a preparation."""

import io
from pathlib import Path

from PIL import Image

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.pictures import Picture, write_manifest, write_shard
from data_prep.contract.pixels import VERSION
from data_prep.contract.shapes import SHAPES, caption, draw, scene_of
from data_prep.contract.vocabulary import Vocabulary


def png(pixels: object) -> bytes:
    """The file of a picture without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")  # type: ignore[arg-type]
    return buffer.getvalue()


def drawn(seed: int, split: str, number: int) -> Picture:
    """A picture of shapes with its caption and the class of its first shape."""
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
    )


def write_pictures(
    folder: Path,
    train: int,
    validation: int,
    seed: int = 1,
    shards: int = 2,
    tokenizer: Vocabulary | None = None,
) -> Path:
    """A finished dataset of so many pictures in `train` and `validation`, perhaps with a tokenizer."""
    splits = {}
    for split, count in (("train", train), ("validation", validation)):
        pictures = [drawn(seed, split, number) for number in range(count)]
        cuts = [count * index // shards for index in range(shards + 1)]
        splits[split] = [
            write_shard(folder, split, index, pictures[cuts[index] : cuts[index + 1]])
            for index in range(shards)
        ]
    if tokenizer:
        (folder / TOKENIZER).write_bytes(tokenizer.content)
    pixels = {"version": VERSION, "size": 32}
    write_manifest(folder, splits, ["image", "caption", "label"], SHAPES, pixels, {})
    return folder
