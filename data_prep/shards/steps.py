"""The plan of the last step: which shards there are, and the manifest once they are written."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_prep.config import ShardConfig
from data_prep.contract.dataset import BLOCKS, MANIFEST, Manifest, Shard, token_dtype, write_manifest
from data_prep.parts import Part, plan
from data_prep.shards import build
from data_prep.storage import Storage
from data_prep.tokenize.encode import SPLITS


def plan_shards(
    storage: Storage, encoded: Sequence[Part], vocabulary_size: int, layout: ShardConfig
) -> list[Part]:
    """The shards of both splits; each reads of every part's tokens what belongs to it."""
    tokens = {name: sum(part.counts["splits"][name]["tokens"] for part in encoded) for name in SPLITS}
    wanted = []
    for split in SPLITS:
        shards = build.shard_count(tokens[split], token_dtype(vocabulary_size).itemsize, layout.shard_bytes)
        arguments = {
            "split": split,
            "shards": shards,
            "block_tokens": build.block_size(layout.block_tokens, tokens["train"]),
            "vocabulary_size": vocabulary_size,
            "tokens": [part.path("tokens.npy") for part in encoded],
            "indexes": [part.path("index.npy") for part in encoded],
        }
        wanted += [
            plan(
                storage,
                "shards",
                build.VERSION,
                arguments | {"shard": number},
                unnamed={"storage": storage},
                sliced=["tokens"],
            )
            for number in range(shards)
        ]
    return wanted


def finish_dataset(storage: Storage, shards: Sequence[Part], about: Mapping[str, Any]) -> Manifest:
    """Write the block tables and then the manifest, which makes the folder a dataset."""
    splits: dict[str, list[tuple[Shard, Any]]] = {name: [] for name in SPLITS}
    for part in shards:
        entry = Shard.model_validate(part.counts["shard"])
        with storage.open(part.path("blocks.npy")) as blocks:
            splits[part.arguments["split"]].append((entry, np.load(blocks)))
    manifest = write_manifest(storage.folder, splits, dict(about))
    storage.store(*(storage.folder / name / BLOCKS for name in splits), storage.folder / MANIFEST)
    return manifest
