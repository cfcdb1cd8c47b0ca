"""What a training loop asks of its data, whoever makes it: pretraining samples or instruction pairs.

A batch is a dictionary of numpy arrays with the micro batch first. For a decoder:

    tokens [B, S] int64       inputs
    targets [B, S] int64      what each position should predict
    weights [B, S] float32    weight of each position in the loss; 0 leaves it out
    positions [B, S] int64    optional; left out they count from 0
    segments [B, S] int32     optional; attention stays inside equal segments; left out there is one
    prefix [B] int64          prefix LM: how many first positions attend to each other both ways

An encoder (masked LM) has the same first three, and with a sentence task

    token_types [B, S] int64              0 up to the first <sep>, 1 behind it
    next_sentence [B] int64               0 where the second text followed the first, 1 where not
    next_sentence_weights [B] float32     weight of that label in the loss

and `segments`, 1 for tokens and 0 for padding, where a sample is shorter than the batch. An encoder and a
decoder (span corruption, denoising) have those of the decoder, its tokens shifted right, and

    encoder_tokens [B, S] int64           inputs of the encoder
    encoder_segments [B, S] int32         1 for tokens, 0 for padding, which nothing but padding may see

Which arrays are labels is the objective's to say. The weights of a step are scaled by the engine so that the
loss is the weighted mean over the *global* batch, whatever the micro batches and ranks it was cut into.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Batch = dict[str, NDArray[Any]]


def count_tokens(batch: Batch) -> int:
    """Tokens that a decoder reads, and the encoder before it: a row of it ends with its last weight."""
    weighted = batch["weights"] > 0 if "weights" in batch else np.ones(batch["tokens"].shape, bool)
    rows = np.where(weighted.any(axis=1), weighted.shape[1] - weighted[:, ::-1].argmax(axis=1), 0)
    return int(rows.sum()) + int(batch.get("encoder_segments", np.zeros(1)).sum())


class BatchSource(Protocol):
    """The batches of one data-parallel rank: a pure function of the step, so a resume needs no more state."""

    def step(self, step: int) -> list[Batch]:
        """The micro batches of this rank at optimizer step `step`, counted from 0."""
        ...

    def validation(self) -> Iterator[Batch]:
        """This rank's share of the fixed validation samples; every rank yields equally many batches.

        Samples that only fill up the last batch have weight 0.
        """
        ...

    def documents(self, step: int) -> list[dict[str, Any]]:
        """What the global batch of step `step` holds: `document` names each, with what else is known."""
        ...

    def report(self, steps: int) -> list[dict[str, Any]]:
        """What the first `steps` steps were made of, for the run's receipt."""
        ...

    def close(self) -> None:
        """Stop background work."""
        ...
