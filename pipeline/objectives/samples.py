"""What every objective is given: a batch of samples cut from the token stream, nothing predicted yet."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

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
    keys       [B] the source of each sample's noise
    breaks     [B, W] where something starts that does not belong to what is left of it; None where the
               `<eos>` tokens tell
    partners   [B, W] another sample of the same window for each, where the objective pairs samples
    paired     [B] whether a sample has a partner at all: a window of one sample has none
    """

    tokens: NDArray[Any]
    following: NDArray[Any]
    lengths: NDArray[np.int64]
    keys: Words
    breaks: NDArray[np.bool_] | None = None
    partners: NDArray[Any] | None = None
    paired: NDArray[np.bool_] | None = None

    @property
    def width(self) -> int:
        """W, the positions of a sample."""
        return int(self.tokens.shape[1])

    @property
    def whole(self) -> bool:
        """Whether all positions are real, as in nearly all batches."""
        return bool(self.lengths.min(initial=self.width) == self.width)

    def real(self) -> NDArray[np.bool_]:
        """[B, W] which positions are real."""
        real: NDArray[np.bool_] = np.arange(self.width) < self.lengths[:, None]
        return real

    def weights(self) -> NDArray[np.float32]:
        """[B, W] 1 where a position is real, else 0."""
        if self.whole:
            return np.ones(self.tokens.shape, np.float32)
        return self.real().astype(np.float32)

    def rows(self, chosen: NDArray[Any]) -> Self:
        """Some of the samples, by index or by mask [B]."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: part[chosen] for name, part in parts.items() if part is not None})

    def __len__(self) -> int:
        return len(self.tokens)
