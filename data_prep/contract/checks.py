"""What a dataset's manifest and block tables may say: places inside the dataset, bytes inside its shards."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.names import plain_name
from data_prep.contract.settings import InputError

if TYPE_CHECKING:
    from data_prep.contract.dataset import Manifest, Split


def check_names(manifest: "Manifest", path: Path) -> None:
    """`InputError` where a split or a shard is called something else than a plain relative name."""
    for name, split in manifest.splits.items():
        if "/" in plain_name(name, path):
            raise InputError(f"{path}: {name!r} is no name of a split (it has a slash)")
        for shard in split.shards:
            plain_name(shard.path, path)


def check_rows(table: NDArray[Any], split: "Split", token_bytes: int, path: Path) -> None:
    """`InputError` where a row of a block table names a shard that is not there, or bytes outside of one."""
    sizes = np.array([shard.bytes for shard in split.shards], dtype=np.uint64)
    known = table["shard"] < len(sizes)
    fits = known.all()
    if fits and len(table):
        within = sizes[table["shard"]]
        for field, count, width in (
            ("tokens_offset", "tokens", token_bytes),
            ("lengths_offset", "documents", 4),
            ("ids_offset", "documents", 8),
        ):
            start = np.minimum(table[field], within)  # so that nothing wraps around
            fits &= bool(((table[field] <= within) & (table[count] <= (within - start) // width)).all())
    if not fits or len(table) != split.total("blocks"):
        raise InputError(f"{path}: it does not fit the manifest's shards; prepare the dataset again")
