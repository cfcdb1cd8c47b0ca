"""Datasets that lie elsewhere (s3://, gs://, https://): range reads of blocks, through a cache on disk.

The manifest, the tokenizer and the block tables are copied when a dataset is opened. Blocks come one range
request each, several at once ahead of need, into files that every process of the machine shares.
"""

import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock, get_ident
from typing import Any

import fsspec
import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import ADDRESS, BLOCKS, MANIFEST, TOKENIZER, Block, Dataset
from data_prep.contract.names import without_password
from data_prep.contract.receipt import fingerprint, write_atomic
from data_prep.contract.settings import InputError
from pipeline.config import DataConfig

CACHE = Path("~/.cache/bloomery/blocks")
CONNECTIONS = 8
"""Range requests under way at once."""
SLACK = 64
"""A process looks at the size of the cache each time it has added this fraction of the limit."""


def open_dataset(location: str, data: DataConfig) -> Dataset:
    """The dataset in a folder, or at an address: one that is given, or that a folder names as its own."""
    cache = (data.cache or CACHE).expanduser()
    if "://" in location:
        return RemoteDataset(location, cache, data.cache_bytes)
    folder = Path(location)
    if (folder / ADDRESS).is_file():
        return RemoteDataset((folder / ADDRESS).read_text().strip(), cache, data.cache_bytes, folder)
    return Dataset(folder)


class BlockCache:
    """Files of at most `limit` bytes together; those used longest ago go first.

    Several processes may share the folder: files appear whole, and each process may go past the limit by a
    64th of it before it looks.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._added = limit  # so that the first addition looks
        self._lock = Lock()

    def get(self, name: str, size: int) -> NDArray[np.uint8] | None:
        """The bytes kept under a name; None where they are not there."""
        path = self.folder / name
        try:
            data = np.fromfile(path, dtype=np.uint8)
            os.utime(path)
        except FileNotFoundError:
            return None
        return data if len(data) == size else None

    def put(self, name: str, data: bytes) -> None:
        """Keep some bytes."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}.tmp")
        temporary.write_bytes(data)
        temporary.replace(path)
        with self._lock:
            self._added += len(data)
            if self._added * SLACK > self.limit:
                self._added = 0
                self._shrink()

    def drop(self, name: str) -> None:
        """Forget what is kept under a name."""
        (self.folder / name).unlink(missing_ok=True)

    def _shrink(self) -> None:
        files = []
        for path in self.folder.rglob("*.block"):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue  # another process has removed it
            files.append((found.st_mtime_ns, found.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.limit:
                break
            path.unlink(missing_ok=True)
            total -= size


class RemoteDataset(Dataset):
    """A dataset at an address that fsspec understands. `requests` counts the range reads.

    `standing_in` is a folder that already has its small files; else they go to one in the cache.
    """

    def __init__(self, address: str, cache: Path, limit: int, standing_in: Path | None = None) -> None:
        self.address = address.rstrip("/")
        self.shown = without_password(self.address)
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.address)
        except (ImportError, ValueError) as error:
            raise InputError(f"{self.shown}: not an address that can be read here ({error})") from error
        manifest = self.download(MANIFEST)
        self._key = fingerprint(decoded(manifest, self.shown))
        folder = standing_in or cache / self._key
        if standing_in is None:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / MANIFEST, manifest)
        super().__init__(folder)
        if standing_in and (folder / MANIFEST).read_bytes() != manifest:
            raise InputError(
                f"{folder}: {self.shown} holds another dataset by now; run `bloomery prep` again"
            )
        self.cache = BlockCache(cache, limit)
        self.requests = 0
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="blocks")
        self._coming: dict[str, dict[str, Future[NDArray[np.uint8]]]] = {}
        for name in (TOKENIZER, *(f"{split}/{BLOCKS}" for split in self.manifest.splits)):
            self.copy(name)

    def copy(self, name: str) -> None:
        """Copy a whole file into the dataset's folder here, unless it is there already."""
        if not (self.folder / name).is_file():
            (self.folder / name).parent.mkdir(exist_ok=True)
            write_atomic(self.folder / name, self.download(name))

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return bool(self._files.exists(f"{self._root}/{name}"))

    def download(self, name: str, start: int | None = None, stop: int | None = None) -> bytes:
        """The bytes of a file, or of a part of it. `InputError` where it cannot be read."""
        try:
            return bytes(self._files.cat_file(f"{self._root}/{name}", start=start, end=stop))
        except OSError as error:
            raise InputError(
                f"{self.shown}/{name}: cannot be read ({without_password(repr(error))})"
            ) from error

    def open_shard(self, split: str, index: int) -> Any:
        """Something that is sliced like the mapped bytes of a shard."""
        return RemoteShard(self, self.split(split).shards[index].path)

    def read_block(self, shard: Any, row: Any, check: bool = True) -> Block:
        """As for a local dataset; a block whose copy on disk is damaged is fetched once more."""
        del check  # what has lain on a disk or come over a network is checked each time
        extent = block_extent(row)
        try:
            return super().read_block(shard.hold(*extent), row)
        except InputError:
            self.forget(self._name(shard.path, *extent))
            return super().read_block(shard.hold(*extent), row)

    def prefetch(self, split: str, rows: Iterable[Any]) -> None:
        """Start to fetch the blocks of a split that will be read next; earlier wishes are forgotten."""
        before, coming = self._coming.get(split, {}), {}
        for row in rows:
            path, extent = self.split(split).shards[int(row["shard"])].path, block_extent(row)
            name = self._name(path, *extent)
            if name not in coming:
                coming[name] = before.get(name) or self._threads.submit(self._fetch, path, *extent)
        self._coming[split] = coming

    def fetch(self, path: str, start: int, stop: int) -> NDArray[np.uint8]:
        """Bytes [start, stop) of a shard, from the cache where they are in it."""
        name = self._name(path, start, stop)
        for coming in self._coming.values():
            if name in coming:
                return coming[name].result()
        return self._fetch(path, start, stop)

    def forget(self, name: str) -> None:
        """Have the next read of some bytes fetch them again."""
        self.cache.drop(name)
        for coming in self._coming.values():
            coming.pop(name, None)

    def _name(self, path: str, start: int, stop: int) -> str:
        return f"{self._key}/{path}/{start}-{stop}.block"

    def _fetch(self, path: str, start: int, stop: int) -> NDArray[np.uint8]:
        name = self._name(path, start, stop)
        kept = self.cache.get(name, stop - start)
        if kept is not None:
            return kept
        data = self.download(path, start, stop)
        self.requests += 1
        self.cache.put(name, data)
        return np.frombuffer(data, dtype=np.uint8)


class RemoteShard:
    """A shard of a remote dataset."""

    def __init__(self, dataset: RemoteDataset, path: str) -> None:
        self.dataset, self.path = dataset, path

    def hold(self, start: int, stop: int) -> "HeldBytes":
        """Bytes [start, stop) of the shard, sliced by their offsets in it."""
        return HeldBytes(
            self.dataset.fetch(self.path, start, stop), start, f"{self.dataset.address}/{self.path}"
        )


class HeldBytes:
    """Part of a shard in memory, sliced by offsets in the whole shard."""

    def __init__(self, data: NDArray[np.uint8], start: int, filename: str) -> None:
        self.data, self.start, self.filename = data, start, filename

    def __getitem__(self, part: slice) -> NDArray[np.uint8]:
        return self.data[part.start - self.start : part.stop - self.start]


def block_extent(row: Any) -> tuple[int, int]:
    """The bytes [start, stop) of a shard that hold a block's three arrays: they lie behind each other."""
    return int(row["tokens_offset"]), int(row["ids_offset"]) + 8 * int(row["documents"])


def decoded(manifest: bytes, address: str) -> str:
    """The text of a manifest. `InputError` where it is none."""
    try:
        return manifest.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{address}/{MANIFEST}: not UTF-8 at byte {error.start}; JSON is expected") from None
