"""Where pictures come from: every kind is what it lists and a function that reads one thing of that."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from data_prep.contract.settings import InputError
from data_prep.images.config import ImagesConfig
from data_prep.images.sources import crawls, folders, idx, lines, rows, shapes, tars
from data_prep.images.sources.items import PICTURES, Input, Item, Read, stem
from data_prep.sources import expand_lists
from data_prep.sources.files import Found, InputFile, find_local
from data_prep.sources.remote import is_remote, list_remote

READERS: dict[str, Read] = {
    "shapes": shapes.read,
    "classes": folders.read_class,
    "captions": folders.read_captioned,
    "webdataset": tars.read,
    "parquet": rows.read,
    "jsonl": lines.read,
    "idx": idx.read,
    "warc": crawls.read,
}
SUFFIXES: dict[str, tuple[str, ...]] = {
    "classes": PICTURES,
    "captions": (*PICTURES, ".txt"),
    "webdataset": (".tar",),
    "parquet": (".parquet",),
    "jsonl": (".jsonl", ".json", ".ndjson"),
    "idx": ("",),
    "warc": (".warc",),
}
VALIDATION = "validation"


def inputs(
    config: ImagesConfig, seed: int, others: Callable[[list[str]], None] = lambda names: None
) -> list[Input]:
    """All there is to read, sorted by name; `InputError` where a path names nothing.

    `others` is handed the names of files of other kinds that lie in the folders.
    """
    if config.kind == "shapes":
        return shapes.inputs(config.shapes, seed)
    held_out = "train" if config.validation_paths else ""
    found = _of(config, config.paths, held_out, others)
    known = {one.file.path for one in found}
    again = _of(config, config.validation_paths, VALIDATION, others)
    both = next((one.file.path for one in again if one.file.path in known), None)
    if both:
        raise InputError(f"images.validation_paths: {both} is in images.paths too; a file is in one of them")
    return [*found, *again]


def _of(
    config: ImagesConfig, paths: Sequence[str], split: str, others: Callable[[list[str]], None]
) -> list[Input]:
    files: dict[str, InputFile] = {}
    for entry in expand_lists(paths, ""):
        try:
            found: Found = (list_remote if is_remote(entry.path) else find_local)(
                entry.path, SUFFIXES[config.kind]
            )
        except InputError as error:
            sentence = str(error).replace("corpus.paths", "images.paths")
            raise InputError(f"{entry.where}{sentence}") from None
        files |= {file.path: file for file in found.files if file.path not in files}
        others(found.others)
    ordered = sorted(files.values(), key=lambda file: (file.name, file.path))
    paired = {"captions": folders.paired, "idx": idx.paired}.get(config.kind)
    wanted = paired(ordered) if paired else [Input(file) for file in ordered]
    if paths and not wanted:
        raise InputError(f"images.paths: no pictures of kind {config.kind} in {', '.join(paths)[:200]}")
    return [replace(one, split=split) for one in wanted]


def read(one: Input, config: ImagesConfig) -> Iterator[Item]:
    """What one input holds."""
    return READERS[config.kind](one, config)


__all__ = ["Input", "inputs", "read", "stem"]
