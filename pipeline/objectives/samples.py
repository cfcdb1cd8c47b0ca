"""What every objective is given: a batch of samples cut from the token stream, nothing predicted yet."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.objectives.draws import Words


@dataclass(frozen=True)
class Samples:
    """B samples of W stream positions.

    tokens     [B, W] documents, each after an `<eos>`; whatever lies beyond a sample's length is meaningless
    following  [B, W] the token after each of them, which is the next document's `<eos>` at a document's end
    lengths    [B] how many positions of each sample are real; less than W only at an epoch's end and where a
               corrupt block was left out
    breaks     [B, W] where something starts that does not belong to what is left of it; None where the
               `<eos>` tokens tell
    keys       [B] the source of each sample's noise
    """

    tokens: NDArray[Any]
    following: NDArray[Any]
    lengths: NDArray[np.int64]
    keys: Words
    breaks: NDArray[np.bool_] | None = None

    def real(self) -> NDArray[np.bool_]:
        """[B, W] which positions are real."""
        real: NDArray[np.bool_] = np.arange(self.tokens.shape[1]) < self.lengths[:, None]
        return real

    def __len__(self) -> int:
        return len(self.tokens)
