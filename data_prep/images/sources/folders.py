"""Folders of pictures: called by the class of what is in them, or with a text file beside each picture."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from data_prep.documents import Failure
from data_prep.images.config import ImagesConfig
from data_prep.images.sources.items import Found, Input, Item, label_in, stem
from data_prep.sources.files import InputFile, fits
from data_prep.sources.remote import here
from data_prep.sources.streams import damage, damage_errors, open_stream


def read_class(one: Input, config: ImagesConfig) -> Iterator[Item]:
    """The picture in a file; its class is the name of the folder that it lies in, below the one named."""
    folder = one.file.name.rpartition("/")[0].rpartition("/")[2]
    label = folder or Path(one.file.path).parent.name
    yield _picture(one, config, label=label_in(label, config.class_names))


def read_captioned(one: Input, config: ImagesConfig) -> Iterator[Item]:
    """The picture in a file, with each line of the text file beside it as a caption."""
    captions: tuple[str, ...] = ()
    if one.beside:
        with here(one.beside) as local:
            content = whole(local, config.pixels.most_bytes)
        if isinstance(content, Failure):
            yield content
            return
        captions = tuple(line for line in content.decode("utf-8", "replace").splitlines() if line.strip())
    yield _picture(one, config, captions=captions)


def _picture(one: Input, config: ImagesConfig, captions: tuple[str, ...] = (), label: str = "") -> Item:
    limit = config.pixels.most_bytes
    content = whole(one.file, limit)
    if isinstance(content, Failure):
        return content
    if len(content) > limit:
        return Failure(one.file.name, 0, "too many bytes", f"more than {limit:,}")
    return Found(one.file.name, 0, content, captions, label)


def whole(file: InputFile, limit: int) -> bytes | Failure:
    """The content of a file; of one that is too long one byte too many, by which it is known."""
    try:
        with open_stream(file.path) as stream:
            return stream.read(limit + 1)
    except damage_errors() as error:
        return damage(file.name, 0, error)


def paired(files: Sequence[InputFile]) -> list[Input]:
    """Every picture with the text file of its name, where there is one."""
    texts = {stem(file.path): file for file in files if fits(Path(file.path), (".txt",))}
    return [Input(file, texts.get(stem(file.path))) for file in files if not fits(Path(file.path), (".txt",))]
