"""A finished dataset, copied without its parts to object storage, for training nodes elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.contract.dataset import BLOCKS, DOCUMENTS, MANIFEST, TOKENIZER, Dataset
from data_prep.contract.names import without_password
from data_prep.contract.receipt import file_hash
from data_prep.contract.settings import InputError
from data_prep.instructions import FOLDER
from data_prep.storage import Storage

HASHES = "sha256sums"
"""Hashes of the published files, in the form that `sha256sum --check` reads."""


def publish(storage: Storage, url: str) -> int:
    """Copy a dataset to a URL; returns the number of files that were copied.

    Files of the same size and hash are there already and are passed over. An older manifest goes first and
    the new one comes last, so that a reader never meets a manifest whose shards are not there.
    Raises `InputError` where the storage refuses.
    """
    import fsspec

    copied, shown = 0, without_password(url)
    try:
        system, root = fsspec.core.url_to_fs(url)
        known = _hashes(system, f"{root}/{HASHES}")
        wanted = dict(_files(storage.folder))
        if known != wanted and system.exists(f"{root}/{MANIFEST}"):
            system.rm_file(f"{root}/{MANIFEST}")
        for name, digest in wanted.items():
            if known.get(name) != digest or not system.exists(f"{root}/{name}") or name == MANIFEST:
                system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
                with storage.here(storage.folder / name) as path:
                    system.put_file(str(path), f"{root}/{name}")
                copied += 1
        lines = "".join(f"{digest}  {name}\n" for name, digest in wanted.items())
        system.pipe_file(f"{root}/{HASHES}", lines.encode())
    except ImportError as error:
        raise InputError(
            f"corpus.shards.publish: {shown} needs a package that is missing ({error})"
        ) from error
    except (OSError, ValueError) as error:
        problem = without_password(str(error))
        raise InputError(f"corpus.shards.publish: {shown} cannot be written ({problem})") from error
    return copied


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and sha256 of each file of a dataset, the manifest last."""
    manifest = Dataset(folder).manifest
    for split, entry in manifest.splits.items():
        yield from ((shard.path, shard.sha256) for shard in entry.shards)
        yield f"{split}/{BLOCKS}", entry.blocks_sha256
    yield TOKENIZER, manifest.tokenizer_sha256
    for name in (
        DOCUMENTS,
        *sorted(f"{FOLDER}/{path.name}" for path in (folder / FOLDER).glob("*.jsonl")),
        MANIFEST,
    ):
        yield name, file_hash(folder / name)


def _hashes(system: Any, path: str) -> dict[str, str]:
    """What an earlier run published."""
    if not system.exists(path):
        return {}
    lines = (line.split("  ", 1) for line in system.cat_file(path).decode().splitlines())
    return {name: digest for digest, name in lines}
