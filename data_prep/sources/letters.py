"""Problems of letters: ranges of numbers of texts in place of files."""

from collections.abc import Iterator

from data_prep.config import LettersConfig
from data_prep.contract.letters import FORMS, text
from data_prep.documents import Page
from data_prep.sources.files import InputFile
from data_prep.sources.streams import count_read

TOGETHER = 2_000
"""Texts of one unit of work."""
BYTES = 300
"""Of a text, about."""


def inputs(letters: LettersConfig, seed: int) -> list[InputFile]:
    """The texts of every form, in ranges; the seed stands for what is in them."""
    return [
        InputFile("", f"{form}/{start}-{stop}", (stop - start) * BYTES, seed)
        for form in FORMS
        for start in range(0, letters.texts, TOGETHER)
        for stop in [min(start + TOGETHER, letters.texts)]
    ]


def read(file: InputFile, letters: LettersConfig) -> Iterator[Page]:
    """The texts of a range."""
    name, _, numbers = file.name.partition("/")
    (form,) = (one for one in FORMS if one == name)
    start, stop = map(int, numbers.split("-"))
    for number in range(start, stop):
        made = text(file.modified, form, number, letters.fewest, letters.most)
        count_read(len(made))
        yield Page(file.name, number, made)
