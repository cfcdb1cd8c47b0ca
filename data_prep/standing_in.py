"""A folder that stands for a dataset in object storage: its small files, and the address of the others.

Training opens the folder like any dataset and reads the shards from the address, through a cache. Light to
import: nodes that only train have neither Ray nor Arrow.
"""

from data_prep.contract.dataset import ADDRESS, BLOCKS, MANIFEST, TOKENIZER
from data_prep.contract.receipt import RECEIPT, write_atomic
from data_prep.contract.settings import InputError
from data_prep.storage import Storage

NAMES = (
    RECEIPT,
    TOKENIZER,
    "instructions/train.jsonl",
    "instructions/validation.jsonl",
    f"train/{BLOCKS}",
    f"validation/{BLOCKS}",
    MANIFEST,
)
"""All but the shards, the parts and the list of documents."""


def stand_in(storage: Storage) -> None:
    """Make the storage's folder stand for the finished dataset at its address, where it does not already.

    Raises `InputError` where there is none.
    """
    manifest, address = storage.folder / MANIFEST, storage.folder / ADDRESS
    found = storage.read(manifest, storage.folder / RECEIPT)
    if len(found) < 2:
        raise InputError(f"{storage}: no finished dataset there; make one with `bloomery prep`")
    here = [storage.folder / name for name in NAMES]
    if not all(path.is_file() for path in here) or manifest.read_bytes() != found[manifest]:
        manifest.unlink(missing_ok=True)
        storage.fetch(*here)
    write_atomic(address, storage.address + "\n")
