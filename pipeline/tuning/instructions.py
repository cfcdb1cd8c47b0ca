"""Instruction files: JSON lines (or one JSON array) in, conversations out.

A row is either of these, other keys are ignored:

    {"instruction": "Add the numbers.", "input": "2 and 3", "output": "5"}       input may be left out
    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}

Files may be compressed (.gz, .xz). A row of any other shape is an `InputError` that names its file and line.
Texts are cleaned of halves of surrogate pairs and control characters, as data preparation cleans documents.
"""

import gzip
import json
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from data_prep.contract.cleaning import clean
from data_prep.contract.dataset import Dataset
from data_prep.contract.reading import printable
from data_prep.contract.settings import InputError
from data_prep.contract.utf8 import as_utf8
from pipeline.prompting.chat import ROLES, Message

Conversation = tuple[Message, ...]


def dataset_files(dataset: Path) -> tuple[list[Path], list[Path]]:
    """Train and validation files of the pairs that data preparation made.

    Without validation files, `InstructionBatches` holds out a share of the train files.
    """
    train, validation = (dataset / "instructions" / f"{split}.jsonl" for split in ("train", "validation"))
    if not train.is_file():
        raise InputError(
            f"{dataset}: the dataset has no instruction pairs; set tune.data to JSONL files of "
            "instruction/input/output or messages, or tune.enabled=false"
        )
    return [train], [validation] if validation.is_file() and validation.stat().st_size else []


def dataset_pairs(dataset: Dataset, split: str) -> list[Conversation]:
    """The instruction pairs that data preparation made for a split; none where it made none."""
    path = dataset.folder / "instructions" / f"{split}.jsonl"
    return read_conversations(path) if path.is_file() else []


def user_message(instruction: str, given: str) -> str:
    """What the user says: the instruction and, after a blank line, what it is about."""
    return f"{instruction}\n\n{given}" if given else instruction


def read_conversations(path: Path) -> list[Conversation]:
    """Every conversation of a file, in order."""
    return [_conversation(row, where) for where, row in read_rows(path, "instructions")]


def read_rows(path: Path, what: str) -> Iterator[tuple[str, Any]]:
    """Each row of a file of `what`, with the words for where it stands."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; a JSONL file of {what} is expected here")
    try:
        yield from ((f"{path}, {where}", row) for where, row in _rows(path))
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"{path}: the compressed file is truncated or corrupt ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _open(path: Path) -> IO[bytes] | gzip.GzipFile:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".xz":
        return lzma.open(path, "rb")
    return path.open("rb")


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Each row with the words for where it stands."""
    with _open(path) as file:
        lines = as_utf8(cast(IO[bytes], file))
        if path.name.removesuffix(path.suffix if path.suffix in {".gz", ".xz"} else "").endswith(".json"):
            rows = _parse(lines.read(), str(path))
            if not isinstance(rows, list):
                raise InputError(f"{path}: a .json file must hold an array of rows; name JSON lines .jsonl")
            yield from ((f"row {number}", row) for number, row in enumerate(rows, 1))
        else:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"line {number}", _parse(line, f"{path}, line {number}")


def _parse(content: bytes, where: str) -> Any:
    try:
        return json.loads(content.decode())
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 text at byte {error.start}") from None
    except json.JSONDecodeError as error:
        line = f" of line {error.lineno}" if error.lineno > 1 else ""
        raise InputError(f"{where}: not JSON ({error.msg} at column {error.colno}{line})") from None
    except RecursionError:
        raise InputError(f"{where}: nested too deep for JSON") from None
    except (ValueError, MemoryError) as error:  # an integer of more digits than Python takes
        raise InputError(f"{where}: JSON that cannot be read ({error})") from None


def _conversation(row: Any, where: str) -> Conversation:
    if isinstance(row, dict) and "messages" in row:
        return _from_messages(row["messages"], where)
    if isinstance(row, dict) and {"instruction", "output"} <= row.keys():
        given = row.get("input")
        texts = [row["instruction"], "" if given is None else given, row["output"]]
        if all(isinstance(text, str) for text in texts):
            instruction, given, output = map(clean, texts)
            return (Message("user", user_message(instruction, given)), Message("assistant", output))
        raise InputError(f"{where}: instruction, input and output must be strings")
    found = printable(", ".join(row)[:200]) if isinstance(row, dict) else f"a {type(row).__name__}"
    raise InputError(f"{where}: a row needs instruction and output, or messages; this one has {found}")


def _from_messages(rows: Any, where: str) -> Conversation:
    messages = read_messages(rows, where)
    if not any(message.role == "assistant" for message in messages):
        raise InputError(f"{where}: a conversation needs a message of the assistant to learn from")
    return messages


def read_messages(rows: Any, where: str) -> Conversation:
    """The messages of a list of {role, content}. `InputError` where it is none, or empty."""
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{where}: messages must be a list of {{role, content}} with at least one entry")
    messages = []
    for row in rows:
        role, content = (row.get("role"), row.get("content")) if isinstance(row, dict) else (None, None)
        if not isinstance(role, str) or role not in ROLES or not isinstance(content, str):
            raise InputError(f"{where}: a message needs a role ({', '.join(ROLES)}) and content (a string)")
        messages.append(Message(role, clean(content)))
    return tuple(messages)
