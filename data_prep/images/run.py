"""The `images` stage: raw pictures in, a dataset of pictures out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data_prep.cluster import Cluster
from data_prep.config import TokenizerConfig
from data_prep.contract.names import without_password, without_passwords
from data_prep.contract.pixels import VERSION
from data_prep.contract.receipt import Receipt, file_hash, fingerprint
from data_prep.contract.vocabulary import Vocabulary
from data_prep.images.config import ImagesConfig
from data_prep.images.preparation import PicturePreparation
from data_prep.images.repair import broken
from data_prep.images.scores import score_files
from data_prep.images.sources import inputs
from data_prep.run import Identity, Making, carry_out, is_whole
from data_prep.storage import Storage

LIBRARIES = ("ray", "pillow", "pyarrow", "numpy", "sentencepiece")


def prepare(
    config: ImagesConfig,
    tokenizer: TokenizerConfig,
    seed: int,
    folder: Path,
    notify: Callable[[str], None] = print,
) -> Receipt:
    """Make the dataset in `folder`, or take it as it is where its receipt matches and its files are there.

    A run that was stopped goes on from its finished parts. Raises `InputError` where nothing can be read, no
    picture is left, or another process prepares in the same folder.
    """
    wanted, storage = identify(config, tokenizer, seed), Storage(folder)

    def steps(cluster: Cluster) -> dict[str, Any]:
        making = PicturePreparation(config, tokenizer, seed, storage, cluster.execute, notify, cluster.start)
        return making.run(wanted.files, wanted.unread)

    told = without_passwords({"images": config.model_dump(mode="json"), "seed": seed})
    making = Making("images", wanted, told, config.workers, LIBRARIES, steps, broken)
    return carry_out(making, storage, notify)


def identify(config: ImagesConfig, tokenizer: TokenizerConfig, seed: int) -> Identity:
    """The fingerprint of a dataset, from the settings, the files that there are, and how pixels are
    handled."""
    unread: list[str] = []
    found = inputs(config, seed, unread.extend)
    files = [file for one in found for file in one.files if file.path]
    named = [(without_password(file.path), file.size, file.modified) for file in files]
    given = {"images": fingerprint(named)}
    if config.rules.scores:
        given["scores"] = fingerprint([file_hash(path) for path in score_files(config.rules.scores)])
    if tokenizer.model:
        given["tokenizer"] = Vocabulary(tokenizer.model).sha256
    settings = without_passwords(config.settled())
    del settings["workers"]  # how many work at once changes nothing that comes out
    parts: Sequence[Any] = (settings, tokenizer.settled(), seed, VERSION, given)
    return Identity(fingerprint("images", *parts), given, found, unread)


def is_done(config: ImagesConfig, tokenizer: TokenizerConfig, seed: int, folder: Path) -> bool:
    """Whether the dataset in a folder is this very one, and its files are there."""
    return is_whole(Storage(folder), identify(config, tokenizer, seed).fingerprint, broken)
