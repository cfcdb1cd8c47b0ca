"""What a source of pictures yields, and the files that it reads."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from data_prep.contract.questions import Question
from data_prep.contract.settings import InputError
from data_prep.documents import Failure, Passed
from data_prep.images.config import ImagesConfig
from data_prep.sources.files import COMPRESSIONS, InputFile

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Found:
    """One picture as it was found."""

    source: str
    """Name of the file it came from, without the folders that differ between machines."""
    offset: int
    """Where in the source it is: bytes, or a running number."""
    data: bytes
    captions: tuple[str, ...] = ()
    label: str = ""
    url: str = ""
    questions: tuple[Question, ...] = ()


Item = Found | Failure | Passed
"""What a source yields for each thing that it holds."""
Read = Callable[["Input", ImagesConfig], Iterator[Item]]


@dataclass(frozen=True)
class Input:
    """One thing to read: a file with what belongs to it, or a range of scenes that are drawn."""

    file: InputFile
    beside: InputFile | None = None
    """The file of the captions or labels of a picture's file."""
    split: str = ""
    """The split of its pictures; empty where it is drawn for each."""
    start: int = 0
    stop: int = 0
    """Of scenes: the numbers [start, stop)."""
    seed: int = 0
    """Of scenes: what they are drawn from."""

    @property
    def files(self) -> list[InputFile]:
        """The files on disk."""
        return [self.file, *([self.beside] if self.beside else [])]


def captions_in(value: object) -> tuple[str, ...]:
    """Captions of a value from outside: a text, or a list of texts; what is neither is left out."""
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(one for one in values if isinstance(one, str))


def label_in(value: object, names: list[str]) -> str:
    """The name of a class: a text as it is, a number by the names, or the number itself where there are none.

    `InputError` for a number that has no name.
    """
    if isinstance(value, bool) or value is None:
        return ""
    text = str(value).strip()
    if not names or not text.lstrip("-").isdecimal():
        return text if isinstance(value, str | int) else ""
    if not 0 <= int(text) < len(names):
        raise InputError(
            f"images.class_names: the files have a class {text}, and {len(names)} names are given"
        )
    return names[int(text)]


def stem(name: str) -> str:
    """A file's name without what says that it is compressed, and without its last ending."""
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    return name.rpartition(".")[0] if "." in name.rpartition("/")[2] else name
