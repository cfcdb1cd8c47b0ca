"""Next-token prediction: every position predicts the token after it (GPT; Radford et al. 2018)."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.config import DataConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.draws import uniform
from pipeline.objectives.objective import MakeBatch, Objective, Shape
from pipeline.objectives.samples import Samples
from pipeline.objectives.special import SpecialTokens

PREFIX = 20  # what a number is drawn for


class CausalLM(Objective):
    """GPT's objective: the next token, across documents or inside each."""

    fills = False

    def shape(self, data: DataConfig) -> Shape:
        """Every position is an input and has a target."""
        return Shape(data.sequence_length, data.sequence_length)

    def make_batch(self, data: DataConfig, special: SpecialTokens) -> MakeBatch:
        """Inputs, targets and weights, and where attention stays inside documents what keeps it there."""
        if data.attention == "inside_documents":
            return partial(causal_inside_documents, eos=special.eos)
        return causal_lm


class PrefixLM(CausalLM):
    """The next token behind a prefix that is seen whole."""

    prefix = True

    def make_batch(self, data: DataConfig, special: SpecialTokens) -> MakeBatch:
        """Inputs, targets, weights and the length of each prefix."""
        del data, special
        return prefix_lm


def causal_lm(samples: Samples) -> Batch:
    """Inputs are the stream itself, targets the stream one position on.

    Since each document stands after an `<eos>`, its first token is predicted too, and its end is. With
    `<eos>` = 3 and the documents [10, 11] and [12] a sample of width 5 is

        tokens  3 10 11  3 12
        targets 10 11  3 12  3
    """
    return {
        "tokens": samples.tokens.astype(np.int64),
        "targets": samples.following.astype(np.int64),
        "weights": samples.weights(),
    }


def prefix_lm(samples: Samples) -> Batch:
    """Causal LM whose first tokens are a given text: attention sees all of it, the loss starts behind it.

    Adds `prefix` [B]: how many positions attend to each other both ways. Its length is uniform over 1 to
    n - 1 (Raffel et al. 2020, section 3.2.3). The last position of the prefix predicts the first token after
    it, so `prefix` - 1 positions have weight 0.
    """
    batch = causal_lm(samples)
    choices = np.maximum(samples.lengths - 1, 1)
    prefix = 1 + (uniform(samples.keys, 1, PREFIX)[:, 0] * choices).astype(np.int64)
    batch["weights"][np.arange(samples.width) < prefix[:, None] - 1] = 0
    return batch | {"prefix": prefix}


def causal_inside_documents(samples: Samples, eos: int) -> Batch:
    """Causal LM whose positions see their own document alone."""
    return causal_lm(samples) | inside_documents(samples, eos)


def inside_documents(samples: Samples, eos: int) -> Batch:
    """The keys that keep attention inside documents: `segments` count them, `positions` restart in each."""
    starts = samples.tokens == eos
    if samples.breaks is not None:
        starts |= samples.breaks
    starts[:, 0] = True
    return {"segments": starts.cumsum(axis=1, dtype=np.int32), "positions": restarting_positions(starts)}


def restarting_positions(starts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[B, S] positions that count from 0 at every start."""
    places = np.arange(starts.shape[1])
    positions: NDArray[np.int64] = places - np.maximum.accumulate(np.where(starts, places, 0), axis=1)
    return positions
