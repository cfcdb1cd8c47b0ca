"""The files that a recipe names: found, told apart, grouped into parts, opened whatever their compression."""

import bz2
import glob
import gzip
import io
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from data_prep.contract.settings import InputError
from data_prep.documents import hash64

COMPRESSIONS = (".gz", ".xz", ".zst", ".bz2", ".lz4")
LISTS = (".paths", ".paths.gz", ".paths.xz")
"""Files with a path or URL a line, as Common Crawl publishes them."""


@dataclass(frozen=True)
class InputFile:
    """One file of the corpus."""

    path: str
    name: str
    """The path within the folder that the recipe names: what documents carry as their source."""
    size: int
    """Bytes on disk."""
    modified: int
    """Nanoseconds since the epoch; with the size it tells whether a file is the one that was read."""


def find_local(given: str, suffixes: tuple[str, ...]) -> list[InputFile]:
    """The files that a path names: itself, what its glob matches, or the files with one of `suffixes`
    (compressed or not) in the folder and those below.

    Raises `InputError` for a path with nothing behind it.
    """
    path = Path(given)
    if path.is_dir():
        inside = [entry for entry in path.rglob("*") if entry.is_file() and fits(entry, suffixes)]
        if not inside:
            raise InputError(f"{given}: no {' or '.join(suffixes)} files in this folder")
        return [_input_file(entry, entry.relative_to(path).as_posix()) for entry in sorted(inside)]
    if path.is_file():
        return [_input_file(path, path.name)]
    matches = [Path(match) for match in glob.glob(given, recursive=True)]  # noqa: PTH207 - absolute globs
    if not any(match.is_file() for match in matches):
        raise InputError(f"corpus.paths: no file matches {given}")
    return [_input_file(match, match.name) for match in sorted(matches) if match.is_file()]


def _input_file(path: Path, name: str) -> InputFile:
    state = path.stat()
    return InputFile(str(path), name, state.st_size, state.st_mtime_ns)


def fits(path: Path, suffixes: tuple[str, ...]) -> bool:
    bare = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    return bare.suffix in suffixes and not path.name.startswith(".")


def group_files(files: Sequence[InputFile], part_bytes: int, seed: int) -> list[list[InputFile]]:
    """Parts of about `part_bytes`, in a seeded order that does not depend on the order they were named in."""
    groups: list[list[InputFile]] = []
    full = part_bytes
    for file in sorted(files, key=lambda file: (hash64(seed, "files", file.name), file.name, file.path)):
        if full >= part_bytes:
            groups.append([])
            full = 0
        groups[-1].append(file)
        full += file.size
    return groups


def open_stream(path: str) -> IO[bytes]:
    """The decompressed bytes of a file. Reading raises one of `DAMAGE` where the file is broken."""
    match Path(path).suffix:
        case ".gz":
            return io.BufferedReader(gzip.open(path, "rb"))
        case ".xz":
            return lzma.open(path, "rb")
        case ".bz2":
            return bz2.open(path, "rb")
        case ".zst":
            return io.BufferedReader(ZstdFile(path))
        case ".lz4":
            return io.BufferedReader(Lz4File(path))
        case _:
            return Path(path).open("rb")


class ZstdFile(io.RawIOBase):
    """The decompressed bytes of a zst file with any number of frames. Unlike zstandard's own reader this one
    raises EOFError where the file is cut off."""

    def __init__(self, path: str) -> None:
        import zstandard

        self._file = Path(path).open("rb")  # noqa: SIM115 - closed by close()
        self._new_decoder = zstandard.ZstdDecompressor().decompressobj
        self._decoder = self._new_decoder()
        self._inside, self._ready = False, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            chunk = self._decoder.unused_data if self._decoder.eof else b""
            if self._decoder.eof:
                self._decoder, self._inside = self._new_decoder(), False
            chunk = chunk or self._file.read(1 << 16)
            if not chunk:
                if self._inside:
                    raise EOFError("the file ends in the middle of a frame")
                return 0
            self._inside = True
            self._ready = self._decoder.decompress(chunk)
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class Lz4File(io.RawIOBase):
    """The decompressed bytes of an lz4 file; fastwarc's reader with the interface of a file."""

    def __init__(self, path: str) -> None:
        from fastwarc.stream_io import Lz4Reader

        self._file = Path(path).open("rb")  # noqa: SIM115 - closed by close()
        self._reader = Lz4Reader(self._file)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._reader.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def damage_errors() -> tuple[type[Exception], ...]:
    """What reading a broken file raises: a truncated or corrupt compressed stream, a disk error."""
    import zlib

    import zstandard

    return (EOFError, OSError, lzma.LZMAError, zlib.error, zstandard.ZstdError)
