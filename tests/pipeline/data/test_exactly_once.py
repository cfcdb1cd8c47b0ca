"""Every document's tokens once per epoch, in order, for random corpora and every way of cutting them."""

import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.contract.dataset import Dataset
from pipeline.config import PipelineConfig, RampUp, TrainConfig
from pipeline.data.maker import BatchMaker
from pipeline.data.stream import Cutting, SampleStream
from tests.pipeline.data.corpora import write_tokens

EOS = 3


corpora = st.lists(st.lists(st.integers(111, 149), max_size=30), min_size=1, max_size=25)


@given(
    corpora,
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 20),
    st.integers(1, 9),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2),
)
@settings(max_examples=80, deadline=None)
def test_each_token_with_what_follows_it_once_per_epoch(
    documents: list[list[int]],
    per_block: int,
    blocks_per_shard: int,
    width: int,
    window: int,
    best_fit: bool,
    fixed: bool,
    epoch: int,
) -> None:
    """Pairs (token, token after it) over an epoch are those of the documents, each between two <eos>."""
    with tempfile.TemporaryDirectory() as name:
        arrays = [np.array(document, dtype=np.uint16) for document in documents]
        write_tokens(Path(name), {"train": arrays}, per_block, blocks_per_shard)
        cutting = Cutting(width, window, best_fit=best_fit, fixed=fixed)
        stream = SampleStream(Dataset(Path(name)), "train", cutting, seed=7)
        count = stream.order.samples
        samples = stream.samples(epoch * count + np.arange(count))
    real = samples.real()
    found = Counter(zip(samples.tokens[real].tolist(), samples.following[real].tolist(), strict=True))
    expected = Counter(pair for document in documents for pair in pairwise([EOS, *document, EOS]))
    assert found == expected
    # Inside a sample the stream goes on, but where a break is marked.
    goes_on = real[:, 1:] & (~samples.breaks[:, 1:] if samples.breaks is not None else True)
    np.testing.assert_array_equal(samples.following[:, :-1][goes_on], samples.tokens[:, 1:][goes_on])
    if not best_fit:
        assert (samples.lengths < width).sum() <= 1  # only an epoch's last sample is short
        assert count == -(-sum(len(document) + 1 for document in documents) // width)


def test_a_document_is_cut_only_where_a_sample_is_full(tmp_path: Path) -> None:
    """Joined, in one window: the slots laid end to end are the documents laid end to end, block by block."""
    rng = np.random.default_rng(0)
    documents = [rng.integers(111, 150, size).astype(np.uint16) for size in rng.integers(0, 40, 60)]
    write_tokens(tmp_path, {"train": documents}, 5, 3)
    stream = SampleStream(Dataset(tmp_path), "train", Cutting(16, 10_000), seed=7)
    window = stream.window(0, 0)
    laid = window.tokens.ravel()[: stream.order.total].tolist()
    order = stream.order.stream(0).blocks.tolist()
    assert order != sorted(order)
    expected = [
        token
        for block in order
        for document in documents[5 * block : 5 * block + 5]
        for token in [EOS, *document.tolist()]
    ]
    assert laid == expected
    assert stream.documents == 60
    cut = sum(row[0] != EOS for row in window.tokens.tolist())
    assert stream.cuts == cut


def test_a_growing_global_batch_takes_every_sample_once(tiny_dataset: Path) -> None:
    """Two ranks together, and one alone: samples 0, 1, 2, ... in steps of 4, 4, 8, 8, 8."""
    train = TrainConfig(steps=5, global_batch=8, micro_batch=2, ramp_up=RampUp(start=4, steps=2))
    config = PipelineConfig(name="grows", train=train)
    for size in (1, 2):
        makers = [BatchMaker(config, str(tiny_dataset), rank, size) for rank in range(size)]
        steps = [np.concatenate([np.concatenate(m.indices(step)) for m in makers]) for step in range(5)]
        assert [len(step) for step in steps] == [4, 4, 8, 8, 8]
        assert [sorted(step.tolist()) for step in steps] == [
            list(range(start, start + len(step)))
            for start, step in zip((0, 4, 8, 16, 24), steps, strict=True)
        ]
