"""Rows of an agent's batch: of steps, of texts, of pictures with their captions.

    tokens, targets [B, S]      targets are the tokens one place on
    weights [B, S]              1 where a text's token or an action is what comes next
    local_positions [B, S]      places of steps (`pipeline.objectives.agent.steps`)

and of an agent that sees pictures, in every row,

    pixels [B, Y, X, 3]         black where there is none
    image_places [B, N]         where its patches stand; -1 for nowhere
    patch_rows, patch_columns [B, N]   where in the picture each patch is, of 128 intervals
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.vocabulary import Vocabulary
from pipeline.config.agent import INTERVALS, Interface
from pipeline.objectives.agent.steps import NOWHERE, Tokens
from pipeline.objectives.batches import Batch
from pipeline.objectives.draws import Words, uniform
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.samples import Samples

ROWS, COLUMNS = 200, 201  # what a number is drawn for


def row(tokens: Tokens, learned: NDArray[np.float32], places: Tokens, length: int) -> Batch:
    """A sequence [1, S] of up to S + 1 tokens, of which some are learned; what is behind them is padding."""
    count = min(len(tokens), length + 1)
    whole = [
        np.pad(one[:count], (0, length + 1 - count), constant_values=fill)
        for one, fill in ((tokens, 0), (learned, 0), (places, NOWHERE))
    ]
    return {
        "tokens": whole[0][None, :-1],
        "targets": whole[0][None, 1:],
        "weights": whole[1][None, 1:],
        "local_positions": whole[2][None, :-1],
    }


def joined(rows: Sequence[Batch]) -> Batch:
    """Rows one behind the other."""
    return {name: np.concatenate([one[name] for one in rows]) for name in rows[0]}


def without_pictures(batch: Batch, interface: Interface) -> Batch:
    """Rows in which nothing stands at the places of patches."""
    if interface.image_size is None:
        return batch
    size, count, patches = interface.image_size, len(batch["tokens"]), interface.patches
    return batch | {
        "pixels": np.zeros((count, size, size, 3), np.uint8),
        "image_places": np.full((count, patches), -1, np.int64),
        "patch_rows": np.zeros((count, patches), np.int64),
        "patch_columns": np.zeros((count, patches), np.int64),
    }


def texts(samples: Samples) -> Batch:
    """Every token of a text is learned; none of it is in a step."""
    return {
        "tokens": samples.tokens.astype(np.int64),
        "targets": samples.following.astype(np.int64),
        "weights": samples.weights(),
        "local_positions": np.full(samples.tokens.shape, NOWHERE, np.int64),
    }


def pictures(samples: ImageSamples, interface: Interface, vocabulary: Vocabulary, length: int) -> Batch:
    """A picture is seen, its caption is said: patches that have places in a step, then what is learned."""
    patches, rows = interface.patches, []
    for caption, real in zip(samples.captions, samples.real.tolist(), strict=True):
        ids = [*vocabulary.encode(caption), vocabulary.eos]
        tokens = np.array([vocabulary.pad] * patches + ids)
        learned = np.array([0] * patches + [int(real)] * len(ids), np.float32)
        rows.append(row(tokens, learned, np.array([*range(1, patches + 1), *[NOWHERE] * len(ids)]), length))
    return joined(rows) | {
        "pixels": samples.pixels,
        "image_places": np.tile(np.arange(patches), (len(samples), 1)),
        "patch_rows": intervals(samples.keys, interface.side, ROWS, samples.train).repeat(interface.side, 1),
        "patch_columns": np.tile(
            intervals(samples.keys, interface.side, COLUMNS, samples.train), interface.side
        ),
    }


def intervals(keys: Words, side: int, purpose: int, train: bool) -> NDArray[np.int64]:
    """[B, side] an interval of each row or column of patches: drawn of all that it covers, or the middle."""
    ends = np.arange(side + 1) * INTERVALS // side
    low, count = ends[:-1], np.maximum(np.diff(ends), 1)
    between = uniform(keys, side, purpose) if train else np.full((len(keys), side), 0.5)
    return np.minimum(low + (between * count).astype(np.int64), INTERVALS - 1)
