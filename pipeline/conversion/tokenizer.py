"""The tokenizer of an exported folder."""

import shutil
from pathlib import Path

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.vocabulary import Vocabulary


def write_tokenizer(folder: Path, vocabulary: Vocabulary) -> None:
    """Write the SentencePiece model as it is."""
    shutil.copyfile(vocabulary.path, folder / TOKENIZER)
