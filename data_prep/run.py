"""The `prep` stage: raw corpora in, a dataset out. `bloomery prep RECIPE` ends here."""

import time
from collections.abc import Callable
from pathlib import Path

from data_prep.cluster import Cluster
from data_prep.config import PrepConfig
from data_prep.contract.dataset import MANIFEST
from data_prep.contract.receipt import RECEIPT, Receipt, fingerprint, read_receipt, versions, write_receipt
from data_prep.contract.vocabulary import Vocabulary
from data_prep.preparation import Preparation
from data_prep.sources import list_files

LIBRARIES = ("ray", "fastwarc", "trafilatura", "resiliparse", "pyarrow", "numpy", "sentencepiece")


def prepare(config: PrepConfig, folder: Path, notify: Callable[[str], None] = print) -> Receipt:
    """Make the dataset in `folder`, or take it as it is where its receipt matches.

    A run that was stopped goes on from its finished parts. Raises `InputError` where nothing can be read or
    nothing is left.
    """
    files = list_files(config.corpus)
    inputs = {"corpus": fingerprint([(file.path, file.size, file.modified) for file in files])}
    if config.tokenizer.model:
        inputs["tokenizer"] = Vocabulary(config.tokenizer.model).sha256
    settings = config.model_dump(mode="json", exclude={"corpus": {"workers"}})
    wanted = fingerprint("prep", settings, inputs)
    receipt = read_receipt(folder)
    if receipt and receipt.fingerprint == wanted and (folder / MANIFEST).is_file():
        notify(f"prep: {folder} is done already")
        return receipt
    folder.mkdir(parents=True, exist_ok=True)
    for name in (RECEIPT, MANIFEST):
        (folder / name).unlink(missing_ok=True)
    start = time.perf_counter()
    with Cluster(config.corpus.workers) as cluster:
        counts = Preparation(config, folder, cluster.execute, notify, cluster.start).run(files)
    receipt = Receipt(
        stage="prep",
        fingerprint=wanted,
        config=config.model_dump(mode="json"),
        inputs=inputs,
        counts=counts,
        seconds=time.perf_counter() - start,
        versions=versions(*LIBRARIES),
    )
    write_receipt(folder, receipt)
    return receipt
