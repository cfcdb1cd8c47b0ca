"""Tars of WebDataset, as img2dataset and open_clip write them: files of one name are one sample.

The name up to the first dot of its last part is the key, the rest says what it is: a picture, `txt` or
`caption` a caption, `cls` a class, `json` an object that may have `caption`, `label`, `questions` and `url`,
or a list that is the questions; `questions.json` is such a list, too. What else there is of a sample is
passed over. Members lie together by their keys, as the format asks.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from data_prep.contract.questions import questions_in
from data_prep.contract.reading import read_json
from data_prep.contract.settings import InputError
from data_prep.documents import Failure, Passed
from data_prep.images.config import ImagesConfig
from data_prep.images.sources.items import PICTURES, Found, Input, Item, captions_in, label_in
from data_prep.sources.streams import damage, damage_errors, open_stream

TEXT_BYTES = 1 << 20
CAPTIONS = ("txt", "caption", "text")
ASKED = "questions.json"


@dataclass
class Sample:
    """What a tar has of one key."""

    key: str
    offset: int
    parts: dict[str, bytes] = field(default_factory=dict)


def read(one: Input, config: ImagesConfig) -> Iterator[Item]:
    """Every sample of a tar that has a picture."""
    name, at = one.file.name, 0
    sample: Sample | None = None
    try:
        with open_stream(one.file.path) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                at = member.offset
                if not member.isfile():
                    continue
                folder, _, last = member.name.rpartition("/")
                stem, _, ending = last.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if sample and sample.key != key:
                    yield found(sample, name, config)
                    sample = None
                sample = sample or Sample(key, at)
                ending = ending.lower()
                limit = config.pixels.most_bytes if _is_picture(ending) else TEXT_BYTES
                if _is_picture(ending) or ending in (*CAPTIONS, "cls", "json", ASKED):
                    content = tar.extractfile(member)
                    assert content is not None
                    sample.parts[ending] = content.read(limit + 1)
            while stream.read(1 << 20):
                pass  # what lies behind the last member, so that a file counts as read to its end
        if sample:
            yield found(sample, name, config)
    except tarfile.TarError as error:
        yield Failure(name, at, "damaged file", f"{type(error).__name__}: {error}")
    except damage_errors() as error:
        yield damage(name, at, error)


def _is_picture(ending: str) -> bool:
    return f".{ending}" in PICTURES


def found(sample: Sample, source: str, config: ImagesConfig) -> Item:
    """The picture of a sample, or why it has none."""
    picture = next((content for ending, content in sample.parts.items() if _is_picture(ending)), None)
    if picture is None:
        return Passed("sample without a picture")
    said = _parsed(sample.parts.get("json", b"{}"))
    about = said if isinstance(said, dict) else {}
    questions = (
        _parsed(sample.parts[ASKED]) if ASKED in sample.parts else about.get(config.question_field, said)
    )
    captions = tuple(
        line
        for ending in CAPTIONS
        for line in sample.parts.get(ending, b"").decode("utf-8", "replace").splitlines()
        if line.strip()
    )
    captions = captions or captions_in(about.get(config.caption_field, about.get("caption")))
    label: Any = sample.parts.get("cls", b"").decode("utf-8", "replace").strip()
    label = label or about.get(config.label_field, "")
    url = about.get("url")
    return Found(
        f"{source}/{sample.key}",
        sample.offset,
        picture,
        captions,
        label_in(label, config.class_names),
        url if isinstance(url, str) else "",
        questions_in(questions),
    )


def _parsed(content: bytes) -> Any:
    """The value of a text in JSON; an empty object where it is none."""
    try:
        return read_json(content, "json")
    except InputError:
        return {}
