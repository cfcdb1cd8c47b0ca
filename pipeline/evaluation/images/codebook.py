"""How much of a codebook is in use: what is looked at first where a quantiser's pictures are poor."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.distributed.gathering import gathered

if TYPE_CHECKING:
    from pipeline.objectives.batches import BatchSource
    from pipeline.parallel.engine import Engine

Counts = NDArray[np.int64]


def usage(counts_K: Counts) -> dict[str, float]:
    """The share of codes that stood for any patch, and the exponential of the entropy of how often each did.

    >>> usage(np.array([2, 2, 0, 0]))
    {'codes_used': 0.5, 'code_perplexity': 2.0}
    """
    shares = counts_K[counts_K > 0] / max(1, counts_K.sum())
    return {
        "codes_used": float((counts_K > 0).mean()),
        "code_perplexity": float(np.exp(-(shares * np.log(shares)).sum())),
    }


def measure(engine: "Engine", source: "BatchSource", codes: int) -> dict[str, float]:
    """The same over the validation images in the layout of a training; all ranks call this together."""
    counts: Counts = np.zeros(codes, np.int64)
    for batch in source.validation():
        for outputs in engine.forward([batch]):  # none but on the last pipeline stage
            numbers_BN = outputs["codes"].cpu().numpy()[batch["weights"] > 0]
            counts += np.bincount(numbers_BN.ravel(), minlength=codes)
    own = counts if engine.world.tensor_rank == 0 else np.zeros_like(counts)
    return usage(np.sum(gathered(own), axis=0))
