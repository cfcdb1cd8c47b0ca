"""Receipts: what a finished stage leaves in its folder, so that a later run can trust it or redo it.

A stage is done when its folder holds a `receipt.json` whose fingerprint equals that of the configuration and
inputs at hand. The receipt is the last file a stage writes, under a temporary name and then renamed, so a
stage that was killed has none.
"""

import hashlib
import json
import os
import platform
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from data_prep.contract.names import without_passwords
from data_prep.contract.settings import Settings

RECEIPT = "receipt.json"


class Receipt(Settings):
    stage: str
    """Name of the stage that wrote this folder."""
    kind: str = ""
    """Its kind; empty in receipts from before stages had names, of which `kind_of` tells it too."""
    fingerprint: str
    """Hash of the stage's configuration and of its inputs' fingerprints."""
    config: dict[str, Any]
    """The stage's resolved configuration."""
    inputs: dict[str, str] = Field(default_factory=dict)
    """Fingerprint of each input by name."""
    counts: dict[str, Any] = Field(default_factory=dict)
    """What went in and what came out."""
    seconds: float = 0.0
    """Wall-clock time of the stage."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of Python and of the libraries that the stage used."""
    finished: float = Field(default_factory=time.time)
    """When the stage ended, in seconds since the epoch."""


OLD_KINDS = {"tune": "instruct", "eval": "evaluate"}
"""Kinds of stages whose receipts say no kind, where it is not the stage's name."""


def kind_of(receipt: Receipt) -> str:
    """The kind of the stage that left a receipt."""
    return receipt.kind or OLD_KINDS.get(receipt.stage, receipt.stage)


def fingerprint(*parts: Any) -> str:
    """16 hex digits that stand for the JSON form of `parts`; pydantic models and paths are understood."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a fingerprint cannot hold a {type(value).__name__}")


def file_hash(path: Path) -> str:
    """The sha256 of a file in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a small file so that it is there whole or not at all, even when the machine stops.

    An `OSError`, such as that of a full disk, names the file and leaves nothing of it behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content.encode() if isinstance(content, str) else content
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of `packages`, and Python's."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Mark the stage in `folder` as done; addresses in its configuration are told without their secrets."""
    told = receipt.model_copy(update={"config": without_passwords(receipt.config)})
    write_atomic(folder / RECEIPT, told.model_dump_json(indent=2) + "\n")


def read_receipt(folder: Path) -> Receipt | None:
    """The receipt in `folder`; None where the stage has not ended or the file cannot be understood."""
    try:
        return understood((folder / RECEIPT).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


def understood(content: bytes) -> Receipt | None:
    """The receipt in a file's content; None where it is no such thing."""
    try:
        return Receipt.model_validate_json(content)
    except ValidationError:
        return None


def is_done(folder: Path, expected_fingerprint: str) -> bool:
    """Whether the stage in `folder` ended with this very configuration and these inputs."""
    receipt = read_receipt(folder)
    return receipt is not None and receipt.fingerprint == expected_fingerprint
