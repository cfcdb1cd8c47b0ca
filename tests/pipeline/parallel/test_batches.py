"""What the engine makes of a batch before the model sees it."""

import numpy as np

from pipeline.parallel.examples import unmarked


def test_a_batch_without_padding_goes_without_marks() -> None:
    tokens = np.array([[5, 6], [7, 0]])
    full = {"encoder_tokens": tokens, "encoder_segments": np.ones((2, 2), np.int32)}
    short = full | {"encoder_segments": np.array([[1, 1], [1, 0]], np.int32)}
    assert list(unmarked(full)) == ["encoder_tokens"]
    assert list(unmarked(short)) == ["encoder_tokens", "encoder_segments"]
    assert "encoder_segments" in full, "the given batch stays as it is"
