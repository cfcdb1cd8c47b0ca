"""The kind of stage that makes a dataset of texts out of the captions of a dataset of pictures.

    texts: {kind: captions, data: pictures}

A language model can then learn from what the pictures' tokenizer reads, such as the encoder that a text to
image model has beside it. Every caption is a document; those of one picture follow one another.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from data_prep.contract.dataset import TOKENIZER, Block, ShardWriter, write_manifest
from data_prep.contract.pictures import TRAIN, VALIDATION, ImageDataset
from data_prep.contract.receipt import Receipt
from data_prep.contract.report import Headline, StageReport
from data_prep.contract.settings import InputError
from data_prep.contract.stages import DATASET, PICTURES, Input, Kind, Notify, Stage

BLOCK = 256
"""Captions of a block."""
SHARD = 4096
"""Blocks of a shard."""
CAPTIONS = 16
"""Most captions of a picture that have ids of their own."""


class Captions(Kind):
    """`captions`: the captions of pictures as texts, by the tokenizer of the pictures."""

    name, gives = "captions", DATASET
    inputs: ClassVar[tuple[Input, ...]] = (Input("data", (PICTURES,)),)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Write the dataset."""
        source = stage.source("data")
        assert source is not None
        pictures = ImageDataset(source.path)
        if not pictures.has("caption"):
            raise InputError(f"{pictures.folder}: its pictures have no captions")
        vocabulary = pictures.vocabulary
        shutil.copyfile(pictures.folder / TOKENIZER, stage.folder / TOKENIZER)
        splits = {}
        for split in (TRAIN, VALIDATION):
            writer, written = ShardWriter(stage.folder, split, vocabulary.size), []
            found = list(blocks(pictures, split))
            for index, start in enumerate(range(0, len(found), SHARD)):
                part = found[start : start + SHARD]
                size = sum(length for _, length in part)
                written.append(writer.write(index, [block for block, _ in part], size))
            splits[split] = written
        manifest = write_manifest(stage.folder, splits, {"captions_of": pictures.manifest.fingerprint})
        counts = {f"{name}_documents": split.total("documents") for name, split in manifest.splits.items()}
        notify(f"{stage.name}: {counts['train_documents']:,} captions in {stage.folder}")
        return counts

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """How many there are."""
        return StageReport([Headline("captions", f"{receipt.counts['train_documents']:,}", folder.name)])


def blocks(pictures: ImageDataset, split: str) -> Iterator[tuple[Block, int]]:
    """The captions of a split in blocks, each with the bytes of its texts."""
    texts, ids = list[str](), list[int]()
    for number, row in enumerate(pictures.rows(split)):
        for place, caption in enumerate(pictures.sample(split, number)[1][:CAPTIONS]):
            texts.append(caption)
            ids.append((int(row["id"]) * CAPTIONS + place) % (1 << 64))
        if len(texts) >= BLOCK or (texts and number == len(pictures.rows(split)) - 1):
            encoded = pictures.vocabulary.encode_batch(texts)
            tokens = np.concatenate([np.asarray(one, np.int64) for one in encoded])
            lengths = np.array([len(one) for one in encoded], np.int32)
            yield Block(tokens, lengths, np.array(ids, np.uint64)), sum(len(one.encode()) for one in texts)
            texts, ids = [], []
