"""What a reward model is worth on comparisons that it has not seen, and what its numbers are measured from.

Rewards are only known up to a constant; the mean of the better answers of the held-out prompts is what they
are counted from (Ouyang et al. 2022, section 3.5, take the labelers' demonstrations).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.distributed.gathering import gathered
from pipeline.evaluation.intervals import wilson
from pipeline.objectives.batches import Batch, BatchSource
from pipeline.objectives.pairs import at_ends
from pipeline.parallel.model import ModelInLayout

BINS = 5
"""Of confidence, from 0.5 to 1."""


class Judged(NamedTuple):
    """Comparisons with what a reward model says of them; P prompts of K answers."""

    scores: NDArray[np.float32]
    """[P, K]"""
    weights: NDArray[np.float32]
    """[P, K, K]"""
    lengths: NDArray[np.int64]
    """[P, K] tokens of each answer."""


def judge(model: ModelInLayout, source: BatchSource) -> Judged:
    """The validation's comparisons under a model with a scalar head; all ranks call this together."""
    batches, world = list(source.validation()), model.world
    outputs = model.forward(batches)
    own = [_judged(batch, flow["values"]) for batch, flow in zip(batches, outputs, strict=False)]
    found = [one for rank in gathered([] if world.tensor_rank else own) for one in rank]
    joined = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    real = joined[1].any(axis=(1, 2))
    return Judged(*(part[real] for part in joined))


def _judged(batch: Batch, values_RS: Any) -> Judged:
    import torch

    weights, lengths = batch["pair_weights"], torch.from_numpy(batch["lengths"]).to(values_RS.device)
    shape = weights.shape[:2]
    scores = at_ends(values_RS, lengths).view(shape).cpu().numpy()
    return Judged(scores, weights, batch["answers"].sum(axis=1).astype(np.int64).reshape(shape))


def figures(judged: Judged) -> dict[str, Any]:
    """Accuracy with its interval, that of length alone, calibration, and mean and deviation on references."""
    prompts = len(judged.scores)
    right = float(decided(judged.scores, judged.weights).sum())
    longer = float(decided(judged.lengths.astype(np.float32), judged.weights).sum())
    low, high = wilson(round(right), prompts)
    bins = calibration(judged.scores, judged.weights)
    references = judged.scores[np.arange(prompts), judged.weights.sum(axis=2).argmax(axis=1)]
    return {
        "prompts": prompts,
        "accuracy": right / prompts,
        "interval": [low, high],
        "longer_is_better": longer / prompts,
        "calibration": bins,
        "calibration_error": sum(abs(said - was) * share for said, was, share in bins),
        "mean": float(references.mean(dtype=np.float64)),
        "deviation": float(references.std(dtype=np.float64)),
    }


def decided(scores: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float64]:
    """[P] the share of each prompt's comparisons that scores decide as they were made; half where equal."""
    differences = scores[:, :, None] - scores[:, None, :]
    found: NDArray[np.float64] = (0.5 * (1 + np.sign(differences)) * weights).sum(
        axis=(1, 2), dtype=np.float64
    )
    return found


def calibration(scores: NDArray[Any], weights: NDArray[Any]) -> list[tuple[float, float, float]]:
    """(how sure, how often right, share of comparisons) of bins of confidence that hold any.

    >>> scores, weights = np.array([[2.0, 0.0]]), np.array([[[0.0, 0.75], [0.25, 0.0]]])
    >>> [tuple(round(one, 2) for one in row) for row in calibration(scores, weights)]
    [(0.88, 0.75, 1.0)]
    """
    upper = np.triu_indices(scores.shape[1], 1)
    differences = (scores[:, :, None] - scores[:, None, :])[:, upper[0], upper[1]]
    forward = weights[:, upper[0], upper[1]]
    backward = weights.transpose(0, 2, 1)[:, upper[0], upper[1]]
    sure = 1 / (1 + np.exp(-np.abs(differences)))
    right = np.where(differences > 0, forward, np.where(differences < 0, backward, (forward + backward) / 2))
    weight = forward + backward
    places = np.minimum(((sure - 0.5) * 2 * BINS).astype(int), BINS - 1)
    found = []
    for place in range(BINS):
        inside = weight * (places == place)
        if total := float(inside.sum()):
            said, was = float((sure * inside).sum()), float((right * (places == place)).sum())
            found.append((said / total, was / total, total / float(weight.sum())))
    return found
