"""The `prep` stage: raw corpora in, a dataset out. `bloomery prep RECIPE` ends here."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
from data_prep.parts import made_again
from data_prep.preparation import Preparation
from data_prep.repair import broken, remove
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
    """Make the dataset in `storage`, or take it as it is where its receipt matches and its files are there.

    What is missing or damaged of it is made again, byte for byte.

    A folder among `others` that holds this very dataset is taken over. Where the storage is an address, its
    folder here ends up with what is small and stands for it. A run that was stopped goes on from its finished
    parts. Raises `InputError` where nothing can be read, nothing is left, or another process prepares in the
    same folder; two that share but an address are not kept apart.
    """
    wanted = identify(config)

    def steps(cluster: Cluster) -> dict[str, Any]:
        preparation = Preparation(config, storage, cluster.execute, notify, cluster.start)
        return preparation.run(wanted.files, wanted.unread)

    making = Making(
        kind="prep",
        identity=wanted,
        config=without_passwords(config.model_dump(mode="json")),
        workers=config.corpus.workers,
        libraries=LIBRARIES,
        steps=steps,
        broken=broken,
    )
    return carry_out(making, storage, notify, others)


@dataclass(frozen=True)
class Making:
    """What is to be made, whatever it is of."""

    kind: str
    """The kind of the stage."""
    identity: "Identity"
    config: dict[str, Any]
    """As the receipt has it."""
    workers: int | None
    libraries: tuple[str, ...]
    """Those whose versions the receipt has."""
    steps: Callable[[Cluster], dict[str, Any]]
    """Makes it with the parts that there are; returns the receipt's counts."""
    broken: "FindBroken"


FindBroken = Callable[[Storage, Receipt, bool], list[Path]]
"""What of a finished dataset is missing or damaged, by size, or by hash where the last argument is true."""


def carry_out(
    making: Making, storage: Storage, notify: Callable[[str], None], others: Iterable[Path] = ()
) -> Receipt:
    """Make the dataset, or take it as it is or from one of `others`; see `prepare`."""
    wanted = making.identity
    for line in other_lines(len(wanted.unread), first_of(wanted.unread)):
        notify(f"passed over: {line}")
    receipt = finished(storage, wanted.fingerprint)
    if receipt is None or _broken(storage, receipt, making.broken):
        with locked(storage.folder, "preparing"):
            receipt = finished(storage, wanted.fingerprint)  # by another process, that was waited for
            bad = _broken(storage, receipt, making.broken) if receipt else []
            if receipt is None or bad:
                return _make(making, storage, notify, others, bad)
    if storage.address:
        stand_in(storage)
    notify(f"{making.kind}: {storage} is done already")
    return receipt


def _make(
    making: Making,
    storage: Storage,
    notify: Callable[[str], None],
    others: Iterable[Path],
    bad: list[Path],
) -> Receipt:
    """Take the dataset over, or make it, and leave its receipt; of one that is done, what is `bad`."""
    kind, wanted = making.kind, making.identity
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        notify(f"{kind}: {bad[0]}{more}: missing or damaged, made again")
        remove(storage, bad)
    marked = (storage.folder / DAMAGED).exists()
    _begin(storage)
    # A folder that shares its files may share what is damaged, too.
    taken = None if storage.address or marked else take_over(storage.folder, others, wanted.fingerprint)
    if taken:
        notify(f"{kind}: {taken[0]} is this very dataset; taken from there")
        return taken[1]
    start = time.perf_counter()
    with Cluster(making.workers) as cluster:
        # A preparation counts as it goes, so each try has its own.
        counts = made_again(lambda: making.steps(cluster), storage, notify)
    receipt = Receipt(
        stage=storage.folder.name,
        kind=kind,
        fingerprint=wanted.fingerprint,
        config=making.config,
        inputs=wanted.inputs,
        counts=counts,
        seconds=time.perf_counter() - start,
        versions=versions(*making.libraries),
    )
    write_receipt(storage.folder, receipt)
    storage.store(storage.folder / RECEIPT)
    return receipt


class Identity(NamedTuple):
    """What a preparation is, before anything of it is done."""

    fingerprint: str
    inputs: dict[str, str]
    """Fingerprints of what goes in."""
    files: list[Any]
    """What is read: files of the corpus, and what is beside them."""
    unread: list[str]
    """Files at its paths that are of another kind."""


def identify(config: PrepConfig) -> Identity:
    """The fingerprint of a dataset, from the settings and the files that there are."""
    unread: list[str] = []
    files = list_files(config.corpus, unread.extend, config.seed)
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


def _broken(storage: Storage, receipt: Receipt, find: FindBroken) -> list[Path]:
    """What is missing or damaged of it. A mark of damage goes where all is well."""
    mark = storage.folder / DAMAGED
    found = find(storage, receipt, mark.exists())
    if not found and mark.exists():  # asked first: a folder that is read only may be looked at
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


def is_whole(storage: Storage, wanted: str, find: FindBroken = broken) -> bool:
    """Whether the dataset of this fingerprint has been made, and its files are there."""
    receipt = finished(storage, wanted)
    return receipt is not None and not _broken(storage, receipt, find)
