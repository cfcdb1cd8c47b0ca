"""What SpanBERT's span boundary objective asks of a batch: where hidden spans begin and end."""

import numpy as np
from numpy.typing import NDArray

from pipeline.costs.flops import BOUNDARY_PLACES
from pipeline.objectives.batches import Batch


def borders(hidden: NDArray[np.bool_], tokens: NDArray[np.int64]) -> Batch:
    """Arrays [B, S]: of each hidden token what stands at its span's borders, and its place in the span.

    Hidden spans that touch are one, so that a border is never hidden. With tokens 1, 2 and 4 of six hidden

        hidden            0  1  1  0  1  0
        left              0  0  0  0  3  0    the token before the span
        right             0  3  3  0  5  0    the one behind it
        places           -1  0  1 -1  0 -1    -1 where nothing is asked
        boundary_weights  0  1  1  0  1  0

    `originals` are the tokens as they were, which a loss inside the model needs.
    """
    width = hidden.shape[1]
    positions = np.arange(width)
    left = np.maximum.accumulate(np.where(hidden, 0, positions), axis=1)
    right = np.minimum.accumulate(np.where(hidden, width - 1, positions)[:, ::-1], axis=1)[:, ::-1]
    places = positions - left - 1
    asked = hidden & (places < BOUNDARY_PLACES)
    return {
        "originals": tokens,
        "left": np.where(asked, left, 0),
        "right": np.where(asked, right, 0),
        "places": np.where(asked, places, -1).astype(np.int32),
        "boundary_weights": asked.astype(np.float32),
    }
