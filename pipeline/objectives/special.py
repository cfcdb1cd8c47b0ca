"""What objectives know of a vocabulary: plain ids and tables indexed by token id, no tokenizer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of reserved tokens, and for each of the V tokens whether it starts a word or ends a sentence."""

    pad: int
    eos: int
    cls: int
    sep: int
    mask: int
    sentinels: NDArray[np.int64]
    """The sentinels, sentinel 0 first."""
    ordinary: NDArray[np.int64]
    """The tokens that text is made of, which a random token is drawn from."""
    word_start: NDArray[np.bool_]
    """[V] whether a token starts a word; reserved tokens do."""
    sentence_end: NDArray[np.bool_]
    """[V] whether a sentence may end with a token."""

    def is_eos(self, tokens: NDArray[Any]) -> NDArray[np.bool_]:
        """Which tokens are separators of documents."""
        found: NDArray[np.bool_] = tokens == self.eos
        return found
