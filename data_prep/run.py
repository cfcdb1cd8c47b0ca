"""The `prep` stage: raw corpora in, a dataset out. `bloomery prep RECIPE` ends here."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from data_prep.account import first_of, other_lines
from data_prep.cluster import Cluster
from data_prep.config import PrepConfig
from data_prep.contract.dataset import ADDRESS, MANIFEST
from data_prep.contract.names import without_password, without_passwords
from data_prep.contract.receipt import (
    RECEIPT,
    Receipt,
    fingerprint,
    understood,
    versions,
    write_atomic,
    write_receipt,
)
from data_prep.contract.vocabulary import Vocabulary
from data_prep.preparation import Preparation
from data_prep.reuse import take_over
from data_prep.sources import list_files
from data_prep.standing_in import stand_in
from data_prep.storage import Storage

LIBRARIES = ("ray", "fastwarc", "trafilatura", "resiliparse", "pyarrow", "numpy", "sentencepiece")


def prepare(
    config: PrepConfig,
    storage: Storage,
    notify: Callable[[str], None] = print,
    others: Iterable[Path] = (),
) -> Receipt:
    """Make the dataset in `storage`, or take it as it is where its receipt matches.

    A folder among `others` that holds this very dataset is taken over. Where the storage is an address, its
    folder here ends up with what is small and stands for it. A run that was stopped goes on from its finished
    parts. Raises `InputError` where nothing can be read or nothing is left.
    """
    unread: list[str] = []
    files = list_files(config.corpus, unread.extend)
    for line in other_lines(len(unread), first_of(unread)):
        notify(f"passed over: {line}")
    # A password says how a file is had, not which it is.
    named = [(without_password(file.path), file.size, file.modified) for file in files]
    inputs = {"corpus": fingerprint(named)}
    if config.tokenizer.model:
        inputs["tokenizer"] = Vocabulary(config.tokenizer.model).sha256
    settings = without_passwords(config.model_dump(mode="json", exclude={"corpus": {"workers"}}))
    wanted = fingerprint("prep", settings, inputs)
    receipt = _done(storage, wanted)
    if receipt:
        notify(f"prep: {storage} is done already")
        return receipt
    _begin(storage)
    taken = None if storage.address else take_over(storage.folder, others, wanted)
    if taken:
        notify(f"prep: {taken[0]} is this very dataset; taken from there")
        return taken[1]
    start = time.perf_counter()
    with Cluster(config.corpus.workers) as cluster:
        counts = Preparation(config, storage, cluster.execute, notify, cluster.start).run(files, unread)
    receipt = Receipt(
        stage="prep",
        fingerprint=wanted,
        config=without_passwords(config.model_dump(mode="json")),
        inputs=inputs,
        counts=counts,
        seconds=time.perf_counter() - start,
        versions=versions(*LIBRARIES),
    )
    write_receipt(storage.folder, receipt)
    storage.store(storage.folder / RECEIPT)
    return receipt


def _done(storage: Storage, wanted: str) -> Receipt | None:
    """The receipt of a dataset that is there already."""
    marks = storage.read(*(storage.folder / name for name in (RECEIPT, MANIFEST)))
    receipt = understood(marks.get(storage.folder / RECEIPT, b""))
    if receipt is None or receipt.fingerprint != wanted or len(marks) < 2:
        return None
    if storage.address:
        stand_in(storage)
    return receipt


def _begin(storage: Storage) -> None:
    """Make the folder ready; from here on until the end nobody takes it for a finished dataset."""
    storage.folder.mkdir(parents=True, exist_ok=True)
    names = (RECEIPT, MANIFEST)
    storage.delete(*storage.read(*(storage.folder / name for name in names)))
    for name in (*names, ADDRESS):
        (storage.folder / name).unlink(missing_ok=True)
    if storage.address:
        write_atomic(storage.folder / ADDRESS, storage.address + "\n")
