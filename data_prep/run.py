"""The `prep` stage: raw corpora in, a dataset out. `bloomery prep RECIPE` ends here."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from data_prep.account import first_of, other_lines
from data_prep.cluster import Cluster
from data_prep.config import PrepConfig
from data_prep.contract.dataset import ADDRESS, DAMAGED, MANIFEST
from data_prep.contract.lock import locked
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
from data_prep.repair import broken, remove
from data_prep.reuse import take_over
from data_prep.sources import list_files
from data_prep.sources.files import InputFile
from data_prep.standing_in import stand_in
from data_prep.storage import Storage

LIBRARIES = ("ray", "fastwarc", "trafilatura", "resiliparse", "pyarrow", "numpy", "sentencepiece")


def prepare(
    config: PrepConfig,
    storage: Storage,
    notify: Callable[[str], None] = print,
    others: Iterable[Path] = (),
) -> Receipt:
    """Make the dataset in `storage`, or take it as it is where its receipt matches and its files are there.

    What is missing or damaged of it is made again, byte for byte.

    A folder among `others` that holds this very dataset is taken over. Where the storage is an address, its
    folder here ends up with what is small and stands for it. A run that was stopped goes on from its finished
    parts. Raises `InputError` where nothing can be read, nothing is left, or another process prepares in the
    same folder; two that share but an address are not kept apart.
    """
    wanted = identify(config)
    for line in other_lines(len(wanted.unread), first_of(wanted.unread)):
        notify(f"passed over: {line}")
    receipt = finished(storage, wanted.fingerprint)
    if receipt is None or _broken(storage, receipt):
        with locked(storage.folder, "preparing"):
            receipt = finished(storage, wanted.fingerprint)  # by another process, that was waited for
            bad = _broken(storage, receipt) if receipt else []
            if receipt is None or bad:
                return _make(config, storage, notify, others, wanted, bad)
    if storage.address:
        stand_in(storage)
    notify(f"prep: {storage} is done already")
    return receipt


def _make(
    config: PrepConfig,
    storage: Storage,
    notify: Callable[[str], None],
    others: Iterable[Path],
    wanted: "Identity",
    bad: list[Path],
) -> Receipt:
    """Take the dataset over, or make it, and leave its receipt; of one that is done, what is `bad`."""
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        notify(f"prep: {bad[0]}{more}: missing or damaged, made again")
        remove(storage, bad)
    marked = (storage.folder / DAMAGED).exists()
    _begin(storage)
    # A folder that shares its files may share what is damaged, too.
    taken = None if storage.address or marked else take_over(storage.folder, others, wanted.fingerprint)
    if taken:
        notify(f"prep: {taken[0]} is this very dataset; taken from there")
        return taken[1]
    start = time.perf_counter()
    with Cluster(config.corpus.workers) as cluster:
        counts = Preparation(config, storage, cluster.execute, notify, cluster.start).run(
            wanted.files, wanted.unread
        )
    receipt = Receipt(
        stage=storage.folder.name,
        kind="prep",
        fingerprint=wanted.fingerprint,
        config=without_passwords(config.model_dump(mode="json")),
        inputs=wanted.inputs,
        counts=counts,
        seconds=time.perf_counter() - start,
        versions=versions(*LIBRARIES),
    )
    write_receipt(storage.folder, receipt)
    storage.store(storage.folder / RECEIPT)
    return receipt


class Identity(NamedTuple):
    """What a preparation is, before anything of it is done."""

    fingerprint: str
    inputs: dict[str, str]
    """Fingerprints of what goes in."""
    files: list[InputFile]
    """Files of the corpus."""
    unread: list[str]
    """Files at its paths that are of another kind."""


def identify(config: PrepConfig) -> Identity:
    """The fingerprint of a dataset, from the settings and the files that there are."""
    unread: list[str] = []
    files = list_files(config.corpus, unread.extend)
    # A password says how a file is had, not which it is.
    named = [(without_password(file.path), file.size, file.modified) for file in files]
    inputs = {"corpus": fingerprint(named)}
    if config.tokenizer.model:
        inputs["tokenizer"] = Vocabulary(config.tokenizer.model).sha256
    settings = without_passwords(config.settled())
    del settings["corpus"]["workers"]  # how many work at once changes nothing that comes out
    return Identity(fingerprint("prep", settings, inputs), inputs, files, unread)


def finished(storage: Storage, wanted: str) -> Receipt | None:
    """The receipt of a dataset that has been made already."""
    marks = storage.read(*(storage.folder / name for name in (RECEIPT, MANIFEST)))
    receipt = understood(marks.get(storage.folder / RECEIPT, b""))
    return receipt if receipt and receipt.fingerprint == wanted and len(marks) == 2 else None


def _broken(storage: Storage, receipt: Receipt) -> list[Path]:
    """What is missing or damaged of it. A mark of damage goes where all is well."""
    mark = storage.folder / DAMAGED
    found = broken(storage, receipt, hashes=mark.exists())
    if not found:
        mark.unlink(missing_ok=True)
    return found


def _begin(storage: Storage) -> None:
    """Make the folder ready; from here on until the end nobody takes it for a finished dataset."""
    storage.folder.mkdir(parents=True, exist_ok=True)
    names = (RECEIPT, MANIFEST)
    storage.delete(*storage.read(*(storage.folder / name for name in names)))
    for name in (*names, ADDRESS, DAMAGED):
        (storage.folder / name).unlink(missing_ok=True)
    if storage.address:
        write_atomic(storage.folder / ADDRESS, storage.address + "\n")


def is_whole(storage: Storage, wanted: str) -> bool:
    """Whether the dataset of this fingerprint has been made, and its files are there."""
    receipt = finished(storage, wanted)
    return receipt is not None and not _broken(storage, receipt)
