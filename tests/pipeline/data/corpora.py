"""Datasets of random tokens with many shards, blocks and odd documents, written by the real writer."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import TOKENIZER, Block, Dataset, ShardWriter, write_manifest
from data_prep.contract.vocabulary import RESERVED, Vocabulary
from tests.pipeline import tiny

Document = NDArray[np.uint16]


def random_documents(count: int, longest: int, seed: int, size: int = 150) -> list[Document]:
    """Documents of 0 to `longest` ordinary tokens; most are short."""
    rng = np.random.default_rng(seed)
    lengths = (longest * rng.random(count) ** 2).astype(int)
    return [rng.integers(len(RESERVED), size, length).astype(np.uint16) for length in lengths]


@cache
def tokenizer_bytes() -> bytes:
    """The tokenizer of all these datasets, trained once."""
    with tempfile.TemporaryDirectory() as folder:
        return tiny.vocabulary(Path(folder) / TOKENIZER).path.read_bytes()


def write_tokens(
    folder: Path,
    documents: dict[str, list[Document]],
    per_block: int = 5,
    blocks_per_shard: int = 3,
    first_id: int = 0,
) -> Dataset:
    """A dataset of token documents; ids count from `first_id` over all splits."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TOKENIZER).write_bytes(tokenizer_bytes())
    vocabulary = Vocabulary(folder / TOKENIZER)
    splits, identity = {}, first_id
    for split, all_documents in documents.items():
        blocks = []
        for start in range(0, len(all_documents), per_block):
            block = all_documents[start : start + per_block]
            ids = np.array([identity + n for n in range(len(block))], dtype=np.uint64)
            lengths = np.array([len(one) for one in block], dtype=np.int32)
            blocks.append(Block(np.concatenate(block), lengths, ids))
            identity += len(block)
        writer = ShardWriter(folder, split, vocabulary.size)
        splits[split] = [
            writer.write(index, blocks[start : start + blocks_per_shard], text_bytes=1)
            for index, start in enumerate(range(0, len(blocks), blocks_per_shard))
        ]
    write_manifest(folder, splits)
    return Dataset(folder)
