"""Pictures of a dataset side by side, each with its class and its first caption, for people."""

import textwrap

from PIL import Image, ImageDraw, ImageFont

from data_prep.contract.names import printable
from data_prep.contract.pictures import NO_LABEL, ImageDataset
from data_prep.contract.pixels import PictureError, as_rgb, opened

COLUMNS, ROWS = 10, 3
SIDE, WORDS, GAP = 112, 44, 8
"""Of a picture, of the words below it, and between pictures, in pixels."""
TITLE = 26
MOST_PIXELS = 1 << 28
LINES, WIDTH = 3, 20
PAPER, INK, FAINT = (250, 249, 246), (30, 30, 30), (110, 110, 110)


def draw_sheet(dataset: ImageDataset) -> Image.Image:
    """Up to 30 pictures of each split, evenly out of its stored order."""
    splits = [name for name in dataset.manifest.splits if len(dataset.rows(name))]
    cell, line = SIDE + GAP, SIDE + WORDS + GAP
    rows = {name: -(-min(len(dataset.rows(name)), COLUMNS * ROWS) // COLUMNS) for name in splits}
    height = GAP + sum(TITLE + count * line for count in rows.values())
    sheet = Image.new("RGB", (GAP + COLUMNS * cell, height), PAPER)
    draw, top = ImageDraw.Draw(sheet), GAP
    for name in splits:
        total = len(dataset.rows(name))
        draw.text((GAP, top), f"{name}: {total:,} pictures", INK, ImageFont.load_default(16))
        top += TITLE
        shown = min(total, COLUMNS * ROWS)
        for place in range(shown):
            left, upper = GAP + place % COLUMNS * cell, top + place // COLUMNS * line
            _picture(sheet, draw, dataset, name, place * total // shown, (left, upper))
        top += rows[name] * line
    return sheet


def _picture(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    dataset: ImageDataset,
    split: str,
    row: int,
    place: tuple[int, int],
) -> None:
    data, captions = dataset.sample(split, row)
    try:
        image = as_rgb(opened(data, MOST_PIXELS))
    except PictureError as error:
        captions = [error.reason]
    else:
        scale = SIDE / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
        sheet.paste(image, (place[0] + (SIDE - image.width) // 2, place[1] + (SIDE - image.height) // 2))
    label = int(dataset.rows(split)[row]["label"])
    words = [*captions[:1], *([dataset.classes[label]] if label != NO_LABEL else [])]
    wrapped = [line for text in words for line in textwrap.wrap(printable(text), WIDTH)][:LINES]
    for number, line in enumerate(wrapped):
        draw.text((place[0], place[1] + SIDE + 2 + 13 * number), line, FAINT, ImageFont.load_default(11))
