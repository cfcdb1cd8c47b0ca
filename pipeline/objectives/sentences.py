"""How an encoder's input is laid out: `<cls> text <sep>`, or two stretches of text whose order is a task.

Next-sentence prediction (Devlin et al. 2019) asks whether B followed A; sentence-order prediction (Lan et al.
2020, ALBERT) swaps the two instead of taking another B. A and B are stretches of the stream: A ends at a
sentence end where the sample has one, and A, B fill the sample.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.objectives.batches import Batch
from pipeline.objectives.draws import uniform, words
from pipeline.objectives.samples import Samples
from pipeline.objectives.special import SpecialTokens

CUT, SWAP = 50, 51  # what a number is drawn for

SentenceTask = Literal["none", "next_sentence", "sentence_order"]


@dataclass(frozen=True)
class Arranged:
    """An encoder's input before anything is hidden.

    tokens    [B, S] int64, padded where a sample is short
    ordinary  [B, S] what may be hidden: text, no reserved token, no padding
    extra     further keys of the batch: `segments` [B, S] int32, 1 for tokens and 0 for padding, where any
              sample is short; `token_types` [B, S] int64, 0 up to the first <sep> and 1 behind it;
              `next_sentence` [B] int64, 0 where B follows A and 1 where not, as in BERT;
              `next_sentence_weights` [B] float32
    """

    tokens: NDArray[np.int64]
    ordinary: NDArray[np.bool_]
    extra: Batch


def added_tokens(task: SentenceTask) -> int:
    """Reserved tokens around the text of a sample."""
    return 2 if task == "none" else 3


def single(samples: Samples, special: SpecialTokens) -> Arranged:
    """`<cls> text <sep>`, [B, W + 2]."""
    rows, width = len(samples), samples.width
    tokens = np.full((rows, width + 2), special.pad, np.int64)
    tokens[:, 0] = special.cls
    tokens[:, 1:-1] = samples.tokens
    ordinary = np.zeros(tokens.shape, bool)
    ordinary[:, 1:-1] = samples.tokens != special.eos
    return Arranged(tokens, ordinary, _end(tokens, ordinary, samples, 1, special))


def paired(samples: Samples, special: SpecialTokens, task: SentenceTask) -> Arranged:
    """`<cls> A <sep> B <sep>`, [B, W + 3]; in half of the samples B is not what followed A.

    For next_sentence another sample's text stands in B's place, for sentence_order A and B change places. A
    sample too short to be cut, or with no partner where one is needed, stays as it is with label 0.
    """
    rows, width = len(samples), samples.width
    cuts = cut_places(samples, special)
    wrong = (words(samples.keys, 1, SWAP)[:, 0] >> np.uint64(63)).astype(bool) & (samples.lengths == width)
    places = np.arange(width)
    if task == "sentence_order":
        wrong &= width > 1
        turned = (places + cuts[:, None]) % width
        text = np.take_along_axis(samples.tokens, np.where(wrong[:, None], turned, places), axis=1)
        cuts = np.where(wrong, width - cuts, cuts)
    else:
        assert samples.partners is not None
        assert samples.paired is not None
        wrong &= samples.paired
        text = np.where(wrong[:, None] & (places >= cuts[:, None]), samples.partners, samples.tokens)
    tokens = np.full((rows, width + 3), special.pad, np.int64)
    tokens[:, 0] = special.cls
    shifted = 1 + places + (places >= cuts[:, None])
    np.put_along_axis(tokens, shifted, text.astype(np.int64), axis=1)
    np.put_along_axis(tokens, 1 + cuts[:, None], special.sep, axis=1)
    ordinary = np.zeros(tokens.shape, bool)
    np.put_along_axis(ordinary, shifted, text != special.eos, axis=1)
    segments = _end(tokens, ordinary, samples, 2, special)
    types = (np.arange(width + 3) > 1 + cuts[:, None]).astype(np.int64)
    extra: Batch = {
        "token_types": types,
        "next_sentence": wrong.astype(np.int64),
        "next_sentence_weights": (samples.lengths > 1).astype(np.float32),
    }
    return Arranged(tokens, ordinary, segments | extra)


def cut_places(samples: Samples, special: SpecialTokens) -> NDArray[np.int64]:
    """[B] where A ends: behind a random sentence end where there is one, else anywhere inside."""
    inside = np.arange(samples.width) < samples.lengths[:, None] - 1
    drawn = uniform(samples.keys, samples.width, CUT)
    best = np.argmax(drawn + (inside & special.ends_sentence(samples.tokens)) + inside, axis=1)
    return np.minimum(best + 1, np.maximum(samples.lengths - 1, 1))


def _end(
    tokens: NDArray[np.int64],
    ordinary: NDArray[np.bool_],
    samples: Samples,
    before: int,
    special: SpecialTokens,
) -> Batch:
    """Put <sep> behind each sample's last real token and padding behind that; `before` tokens were added.

    Returns `segments` where there is padding, which nothing else may then see. Only an epoch's end has any,
    so the other batches have no mask and attention its fastest kernel.
    """
    ends = samples.lengths + before
    if samples.whole:
        tokens[:, samples.width + before] = special.sep
        return {}
    beyond = np.arange(tokens.shape[1]) >= ends[:, None]
    tokens[beyond] = special.pad
    ordinary[beyond] = False
    tokens[np.arange(len(tokens)), ends] = special.sep
    return {"segments": (np.arange(tokens.shape[1]) <= ends[:, None]).astype(np.int32)}
