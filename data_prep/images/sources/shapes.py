"""Drawn shapes: ranges of scene numbers in place of files."""

from collections.abc import Iterator

from PIL import Image

from data_prep.contract.shapes import COMPOSITION, asked, caption, draw, scene_of
from data_prep.images.config import ImagesConfig, ShapesConfig
from data_prep.images.handling import encoded
from data_prep.images.sources.items import Found, Input, Item
from data_prep.sources.files import InputFile

TOGETHER = 2_000
"""Scenes of one unit of work."""


def inputs(shapes: ShapesConfig, seed: int) -> list[Input]:
    """The scenes of every split, in ranges."""
    wanted = {"train": shapes.count, "validation": shapes.validation, COMPOSITION: shapes.composition}
    return [
        Input(
            InputFile("", f"shapes/{split}", 0, 0),
            split=split,
            start=start,
            stop=min(start + TOGETHER, count),
            seed=seed,
        )
        for split, count in wanted.items()
        for start in range(0, count, TOGETHER)
    ]


def read(one: Input, config: ImagesConfig) -> Iterator[Item]:
    """The pictures of a range of scenes; the class of each is the shape of its first thing."""
    for number in range(one.start, one.stop):
        scene = scene_of(one.seed, one.split, number, config.shapes.kinds)
        data = encoded(Image.fromarray(draw(scene)), "PNG", 0)
        words = caption(scene, config.shapes.places)
        questions = asked(scene, one.seed, one.split, number) if config.shapes.questions else ()
        yield Found(one.file.name, number, data, (words,), scene.things[0].shape, questions=tuple(questions))
