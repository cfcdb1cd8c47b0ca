"""Small corpora, and a way to run parts without Ray."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from data_prep.config import PrepConfig
from data_prep.contract.dataset import Dataset
from data_prep.parts import Execute, Part, Work, do_part
from data_prep.preparation import Preparation
from data_prep.sources import list_files
from data_prep.storage import Storage

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
SENTENCE = """the quick brown fox jumps over a lazy dog while seven wizards quietly brew strong coffee for
every guest near old stone bridges where rivers bend and merchants trade wool salt iron spices maps clocks"""
WORDS = SENTENCE.split()


def real_data(name: str) -> Path:
    """A file of the shared test data; skips the test where it is not there."""
    path = REAL_DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path


def story(seed: int, words: int = 120) -> str:
    """A text of plain sentences that differs for every seed."""
    draw = random.Random(seed)
    lines = []
    for _ in range(max(1, words // 12)):
        sentence = " ".join(draw.choices(WORDS, k=12))
        lines.append(sentence[0].upper() + sentence[1:] + ".")
    return "\n".join(lines)


def write_jsonl(path: Path, texts: Sequence[str]) -> None:
    path.write_text(
        "".join(
            json.dumps({"text": text, "url": f"http://x.test/{i}"}) + "\n" for i, text in enumerate(texts)
        )
    )


def here(step: str, work: Work, parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
    """Runs parts in this process, the last one first: the order of execution must not matter."""
    for part in reversed(parts):
        yield do_part(work, part)


class Here:
    """Stands for a cluster: runs parts in this process and notes the step of each, but for those that
    look at what an earlier run left."""

    done: ClassVar[list[str]] = []

    def __init__(self, workers: int | None) -> None: ...

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *error: object) -> None: ...

    def start(self) -> None: ...

    def execute(self, step: str, work: Work, parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
        Here.done += [step] * len(parts) if step != "check" else []
        return here(step, work, parts)


def prep_config(paths: Sequence[Path], **changes: Any) -> PrepConfig:
    """A configuration for small JSON lines corpora."""
    corpus = {"kind": "jsonl", "paths": [str(path) for path in paths], "validation_share": 0.1}
    tokenizer = {"kind": "bpe", "vocabulary_size": 500}
    return PrepConfig.model_validate(
        {"corpus": corpus | changes.pop("corpus", {}), "tokenizer": tokenizer | changes.pop("tokenizer", {})}
        | changes
    )


def prepare_here(config: PrepConfig, folder: Path) -> dict[str, Any]:
    """A whole preparation without Ray; its counts."""
    return prepare_in(Storage(folder), config)


def prepare_in(storage: Storage, config: PrepConfig, execute: Execute | None = None) -> dict[str, Any]:
    """The same in any storage."""
    storage.folder.mkdir(parents=True, exist_ok=True)
    preparation = Preparation(config, storage, execute or here, lambda line: None)
    return preparation.run(list_files(config.corpus))


def texts_of(folder: Path, split: str) -> list[str]:
    """The decoded documents of a split in stored order."""
    dataset = Dataset(folder)
    return [
        dataset.vocabulary.decode(document.tolist())
        for block in dataset.blocks(split)
        for document in block.documents()
    ]


def fingerprints(folder: Path) -> dict[str, str]:
    """The hash of every file of a dataset but its receipt, its parts and its manifest's account of itself."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "receipt.json" and "parts" not in path.relative_to(folder).parts
    }
