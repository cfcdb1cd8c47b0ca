"""Hugging Face folders on disk: safetensors files of at most 5 GB with an index, and JSON beside them.

model.safetensors                                   where all fits into one file
model-00001-of-00003.safetensors, ...               else, and
model.safetensors.index.json                        which tensor is in which of them

Pickled weights are neither read nor written.
"""

import json
import math
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from data_prep.contract import reading
from data_prep.contract.lock import locked
from data_prep.contract.reading import plain_name, printable
from data_prep.contract.settings import InputError
from pipeline.checkpoints.files import flush

SHARD_BYTES = 5_000_000_000
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
CONFIG = "config.json"


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder that is there whole or not at all: written under a temporary name, renamed at the end.

    `InputError` where the name is taken, or another process is about to take it.
    """
    _check_free(folder)
    with locked(folder, "writing", leave=False):
        _check_free(folder)  # another may have been waited for
        temporary = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)  # of one that was killed
        temporary.mkdir()
        try:
            yield temporary
            flush(temporary)
            temporary.rename(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        flush(folder.parent)


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is there already; name a folder that is not")


def write_tensors(folder: Path, tensors: Iterable[tuple[str, Tensor]], limit: int = SHARD_BYTES) -> None:
    """Write tensors as they come; one file's worth of them is held in memory."""
    places: dict[str, int] = {}
    held: dict[str, Tensor] = {}
    total = files = 0
    for name, tensor in tensors:
        if held and sum(one.nbytes for one in held.values()) + tensor.nbytes > limit:
            _write(folder / f"part-{files}", held)
            held, files = {}, files + 1
        held[name], places[name] = tensor.contiguous(), files
        total += tensor.nbytes
    _write(folder / f"part-{files}", held)
    files += 1
    names = (
        [SINGLE] if files == 1 else [f"model-{i + 1:05d}-of-{files:05d}.safetensors" for i in range(files)]
    )
    for i, name in enumerate(names):
        (folder / f"part-{i}").rename(folder / name)
    if files > 1:
        weights = {name: names[place] for name, place in places.items()}
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weights})


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, path, metadata={"format": "pt"})
    flush(path)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """JSON as transformers writes it."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    flush(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; `InputError` where it is none."""
    if not path.exists():
        raise InputError(f"{path}: no such file; a Hugging Face folder has one")
    try:
        found = reading.read_json(path)
    except InputError as error:
        key = _endless(path)
        raise InputError(f"{error} ({key})") if key else error from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: a JSON object is expected")
    return found


def _endless(path: Path) -> str:
    """The first key of an object whose value is no finite number; nothing where that is not what is wrong."""
    try:
        found = json.loads(path.read_text())
    except (ValueError, OSError, RecursionError, MemoryError):
        return ""
    pairs = found.items() if isinstance(found, dict) else ()
    return next((f"{k} is {v}" for k, v in pairs if isinstance(v, float) and not math.isfinite(v)), "")


NUMBERS = ("F64", "F32", "F16", "BF16")
"""Types of tensors that are weights; what is packed into integers is not read."""


class Tensors:
    """The tensors of a folder, read when asked for. `InputError` where the files are not what they should.

    Of model.safetensors and an index beside it the first counts, as it does in transformers. Of several files
    each tensor is in the one that the index says, and in no other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}
        self.passed_over = ""
        """What transformers does not look at and we neither: an index beside the one file."""
        if (folder / SINGLE).is_file():
            self.places = dict.fromkeys(self._opened(SINGLE).keys(), SINGLE)
            self.passed_over = INDEX if (folder / INDEX).is_file() else ""
        elif (folder / INDEX).is_file():
            self.places = self._indexed()
        else:
            raise InputError(f"{folder}: no {SINGLE} in it; weights are read from safetensors files alone")

    def _indexed(self) -> dict[str, str]:
        index = read_json(self.folder / INDEX)
        if not isinstance(index.get("metadata"), dict):
            raise InputError(
                f"{self.folder / INDEX}: metadata is missing, without which transformers reads none"
            )
        places = index.get("weight_map")
        if not isinstance(places, dict) or not places:
            raise InputError(f"{self.folder / INDEX}: weight_map is missing, the file of each tensor")
        for name, file in places.items():
            if not isinstance(file, str) or "/" in file or not file.endswith(".safetensors"):
                shown = printable(f"{name} is in {file!r}"[:200])
                raise InputError(
                    f"{self.folder / INDEX}: {shown}; a safetensors file of the folder is expected"
                )
            plain_name(file, self.folder / INDEX)
        found: dict[str, str] = {}
        for file in sorted(set(places.values())):
            for name in self._opened(file).keys():  # noqa: SIM118 - a safetensors file has keys alone
                if name in found or places.get(name, file) != file:
                    other = found.get(name, places.get(name))
                    raise InputError(f"{self.folder / file}: {name} is in it and, by the index, in {other}")
                found[name] = file
        for name, file in places.items():
            if name not in found:
                raise InputError(f"{self.folder / file}: {name} is not in it, where the index says so")
        return found

    def __contains__(self, name: str) -> bool:
        return name in self.places

    def __getitem__(self, name: str) -> Tensor:
        """A tensor as it is stored."""
        return self._call(name, lambda file: file.get_tensor(name))

    def shape(self, name: str) -> list[int]:
        """A tensor's shape; its numbers are not read."""
        return list(self._call(name, lambda file: file.get_slice(name).get_shape()))

    def check_type(self, name: str) -> None:
        """`InputError` unless a tensor is of floating-point numbers."""
        kind = self._call(name, lambda file: file.get_slice(name).get_dtype())
        if kind not in NUMBERS:
            raise InputError(
                f"{self.folder / self.places[name]}: {name} is of type {kind}; {', '.join(NUMBERS)} are read"
            )

    def _call(self, name: str, ask: Any) -> Any:
        file = self.places[name]
        try:
            return ask(self._opened(file))
        except (SafetensorError, ValueError, RuntimeError, TypeError) as error:
            raise InputError(f"{self.folder / file}: {name} cannot be read ({error})") from error

    def _opened(self, file: str) -> Any:
        path = self.folder / file
        if file not in self._files:
            if not path.is_file():
                raise InputError(f"{path}: no such file; the index names it")
            try:
                self._files[file] = safe_open(path, "pt")
            except (OSError, SafetensorError, ValueError) as error:
                raise InputError(f"{path}: cannot be read ({error})") from error
        return self._files[file]
