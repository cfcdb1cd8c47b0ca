"""How often answers about pictures are right, beside those to the same questions without the picture."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_prep.contract.questions import Question
from pipeline.evaluation.images.answering import answers
from pipeline.evaluation.images.loading import AT_ONCE, ImageModel
from pipeline.objectives.pictures import ImageSamples

SEEING, ANOTHERS, ALONE = "the picture", "another picture", "no picture"
YES_OR_NO, OPEN = "yes or no", "open"
CLOSED = ("yes", "no")
Answered = TypeVar("Answered", bound="Asked")
Lead = tuple[float, float, float]
"""A difference, from and to."""
SIDE, GAP, LINE, PER_ROW = 128, 10, 15, 6


@dataclass(frozen=True)
class Asked:
    """A question about a picture of a split, and what was said to it."""

    picture: int
    question: Question
    said: dict[str, str]
    """The answers by what was seen."""

    def right(self, way: str) -> bool:
        """Whether an answer is the very one."""
        return self.said[way].casefold() == self.question.answer.casefold()

    @property
    def groups(self) -> tuple[str, ...]:
        """What its figures count in: whether it is open, and what it is about."""
        closed = self.question.answer.casefold() in CLOSED
        about = () if closed or not self.question.about else (self.question.about,)
        return (YES_OR_NO if closed else OPEN, *about)


def seen_line(one: Asked) -> str:
    """A question and its answer with the picture."""
    return f"{one.question.question}  {one.said[SEEING]}"


def ask(model: ImageModel, blind: ImageModel | None, pictures: ImageSamples) -> list[Asked]:
    """Every question about some pictures, put to a model that sees the picture, to the same that sees the one
    behind it, and to one that sees none."""
    rows = [(row, one) for row, asked in enumerate(pictures.questions) for one in asked]
    said: dict[str, list[str]] = defaultdict(list)
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        texts, places = [one.question for _, one in part], [row for row, _ in part]
        ways = {SEEING: (model, places), ANOTHERS: (model, [(row + 1) % len(pictures) for row in places])}
        if blind is not None:
            ways[ALONE] = (blind, places)
        for way, (asked, seen) in ways.items():
            said[way] += answers(asked, chosen(pictures, seen), texts)
    return [
        Asked(row, one, {way: found[place] for way, found in said.items()})
        for place, (row, one) in enumerate(rows)
    ]


def chosen(pictures: ImageSamples, rows: Sequence[int]) -> ImageSamples:
    """Some pictures, each as often as it is named."""
    return replace(pictures, pixels=pictures.pixels[np.array(rows, np.int64)])


def counts(asked: Sequence[Asked]) -> Iterator[tuple[str, Mapping[str, int], int, Lead]]:
    """Of each group: its name, right answers by what was seen, how many questions there are, and by how much
    the share with the picture is above the best without it."""
    for name, some in grouped(asked):
        right = hits(some)
        best = max((way for way in right if way != SEEING), key=lambda way: right[way])
        yield name, right, len(some), lead([one.right(SEEING) - one.right(best) for one in some])


def grouped(asked: Sequence[Answered]) -> Iterator[tuple[str, list[Answered]]]:
    """The questions of each group; yes or no and open ones first, then what open ones are about."""
    groups: dict[str, list[Answered]] = defaultdict(list)
    for one in asked:
        for name in one.groups:
            groups[name].append(one)
    for name in sorted(groups, key=lambda name: (name not in (YES_OR_NO, OPEN), name)):
        yield name, groups[name]


def hits(asked: Sequence[Asked]) -> dict[str, int]:
    """Right answers by what was seen."""
    return {way: sum(one.right(way) for one in asked) for way in asked[0].said}


def lead(differences: Sequence[int]) -> Lead:
    """The mean of paired differences with its 95 % interval, of the normal approximation."""
    values = np.array(differences, float)
    mean, error = values.mean(), 1.96 * values.std() / max(1, len(values)) ** 0.5
    return float(mean), float(mean - error), float(mean + error)


def sheet(
    pictures: ImageSamples,
    asked: Sequence[Answered],
    path: Path,
    most: int,
    told: Callable[[Answered], str] = seen_line,
    way: str = SEEING,
    width: int = SIDE * 4 + 3 * GAP,
) -> None:
    """Pictures with what was asked about them and what was answered one `way`, as `told` in a line.

    Wrong answers are red, with the right one behind.
    """
    rows = sorted({one.picture for one in asked})[:most]
    by_row = {row: [one for one in asked if one.picture == row][:PER_ROW] for row in rows}
    cell = SIDE + GAP
    page = Image.new("RGB", (width, GAP + cell * len(rows)), (250, 249, 246))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for place, row in enumerate(rows):
        top = GAP + place * cell
        shown = Image.fromarray(pictures.pixels[row]).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        page.paste(shown, (GAP, top))
        for line, one in enumerate(by_row[row]):
            right = one.right(way)
            words = told(one) + ("" if right else f"  ({one.question.answer})")
            colour = (30, 30, 30) if right else (190, 30, 30)
            draw.text((2 * GAP + SIDE, top + line * (LINE + 5)), words, colour, font)
    page.save(path)
