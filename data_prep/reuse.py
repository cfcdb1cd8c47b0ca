"""A dataset that another work folder has already, taken over instead of made once more.

Several recipes may train different models on one corpus. Their corpus, tokenizer and seed are the same, so
their preparations have one fingerprint, and what one of them has made is what the others would make.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from data_prep.contract.dataset import ADDRESS, DAMAGED, DOCUMENTS, MANIFEST, TOKENIZER
from data_prep.contract.receipt import Receipt, read_receipt, write_receipt
from data_prep.instructions import FOLDER as INSTRUCTIONS
from data_prep.parts import FOLDER as PARTS
from data_prep.repair import broken
from data_prep.storage import Storage
from data_prep.tokenize.encode import SPLITS

MADE = (PARTS, *SPLITS, INSTRUCTIONS, DOCUMENTS, TOKENIZER, MANIFEST)
"""What preparation leaves in a folder, in the order in which it makes it; its receipt follows."""


def take_over(folder: Path, others: Iterable[Path], wanted: str) -> tuple[Path, Receipt] | None:
    """Put the first of `others` that is whole and whose receipt has the wanted fingerprint into `folder`.

    Returns that folder and its receipt; None where there is none. Files are shared as hard links where both
    folders are on one file system: whoever writes in either replaces files and changes none, and removing a
    folder leaves the other whole.
    """
    for other in others:
        receipt = read_receipt(other)
        if receipt is None or receipt.fingerprint != wanted or (other / ADDRESS).is_file():
            continue
        if (other / DAMAGED).exists() or broken(Storage(other), receipt):
            continue
        for name in MADE:
            _replace(other / name, folder / name)
        if read_receipt(other) == receipt:  # else it was being made anew meanwhile
            write_receipt(folder, receipt)
            return other, receipt
    return None


def _replace(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link)
    elif source.is_file():
        _link(source, target)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
