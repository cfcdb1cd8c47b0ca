"""Sums of named digits: ranges of numbers of texts in place of files."""

from collections.abc import Iterator

from data_prep.config import SumsConfig
from data_prep.contract.sums import FORMS, text
from data_prep.documents import Page
from data_prep.sources.files import InputFile
from data_prep.sources.streams import count_read

TOGETHER = 2_000
"""Texts of one unit of work."""
BYTES = 300
"""Of a text, about."""


def inputs(sums: SumsConfig, seed: int) -> list[InputFile]:
    """The texts of every form, in ranges; the seed stands for what is in them."""
    return [
        InputFile("", f"{form}/{start}-{stop}", (stop - start) * BYTES, seed)
        for form in FORMS
        for start in range(0, sums.texts, TOGETHER)
        for stop in [min(start + TOGETHER, sums.texts)]
    ]


def read(file: InputFile, sums: SumsConfig) -> Iterator[Page]:
    """The texts of a range."""
    name, _, numbers = file.name.partition("/")
    (form,) = (one for one in FORMS if one == name)
    start, stop = map(int, numbers.split("-"))
    for number in range(start, stop):
        made = text(file.modified, form, number, sums.fewest, sums.most)
        count_read(len(made))
        yield Page(file.name, number, made)
