"""Where the samples of a step came from: the documents in a global batch, and their text.

Nothing is recorded while a run trains: the order is a function of the recipe and the dataset, so it is
asked again. The windows of the step are laid out with positions in place of tokens, which tells for every
position of a sample the document it was cut from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.dataset import DOCUMENTS, Dataset
from data_prep.contract.pictures import ImageDataset
from pipeline.config import PipelineConfig
from pipeline.data.making import maker_of
from pipeline.data.remote import RemoteDataset
from pipeline.data.stream import SampleStream
from pipeline.data.windows import StreamSlice, document_heads
from pipeline.objectives.batches import Batch

if TYPE_CHECKING:
    from pipeline.data.images.stream import ImageStream


@dataclass(frozen=True)
class Excerpt:
    """What a sample holds of one document: tokens of its text, or a picture with no tokens and its caption.

    `source` and `url` are None where the dataset does not tell.
    """

    document: int
    source: str | None
    url: str | None
    tokens: int
    text: str


@dataclass(frozen=True)
class TracedSample:
    """A sample of a global batch: its number there, its dataset, the epoch it is from, what it holds."""

    number: int
    dataset: str
    epoch: int
    excerpts: list[Excerpt]


@dataclass(frozen=True)
class Sources:
    """Which document every position of a window's slots is from.

    document  [R, W] the number of a document in `ids`, -1 where a position is not real
    ids       [documents]
    """

    document: NDArray[np.int64]
    ids: NDArray[np.uint64]


def trace_step(config: PipelineConfig, dataset: str, step: int) -> list[TracedSample]:
    """Every sample of the global batch of a step, over all ranks, in order.

    `config` is the run's resolved configuration, `dataset` the folder or address it trained on. Raises
    `InputError` where that is not there.
    """
    maker = maker_of(config.model_copy(update={"train": _one_process(config, step)}), dataset, 0, 1)
    (indices,) = maker.indices(step)
    found = [
        sample
        for stream, places, own in maker.train.deal(indices)
        for sample in (_pictures if isinstance(stream.dataset, ImageDataset) else _trace)(stream, places, own)
    ]
    return sorted(found, key=lambda sample: sample.number)


def step_batch(config: PipelineConfig, dataset: str, step: int) -> Batch:
    """The global batch of a step, over all ranks, as the model was given it: with the very same noise."""
    maker = maker_of(config.model_copy(update={"train": _one_process(config, step)}), dataset, 0, 1)
    [batch] = maker.step(step)
    return batch


def _one_process(config: PipelineConfig, step: int) -> Any:
    """The section under which one process computes the whole batch of a step at once."""
    return config.train.model_copy(update={"micro_batch": config.train.batch_at(step)})


def _trace(
    stream: SampleStream, places: NDArray[np.int64], indices: NDArray[np.int64]
) -> Iterator[TracedSample]:
    """The samples `indices` of one dataset, which are the samples `places` of the batch."""
    sources = lru_cache(maxsize=2)(lambda epoch, window: sources_of(stream, epoch, window))
    traced: list[tuple[int, int, list[tuple[int, NDArray[Any]]]]] = []
    for epoch, number, some, rows in stream.order.locate(indices):
        window, found = stream.window(epoch, number), sources(epoch, number)
        for place, row in zip(places[some].tolist(), rows.tolist(), strict=True):
            runs = cut_by_document(window.tokens[row], found.document[row])
            traced.append((place, epoch, [(int(found.ids[which]), tokens) for which, tokens in runs]))
    origins = origins_of(stream.dataset, {document for _, _, parts in traced for document, _ in parts})
    decode = stream.dataset.vocabulary.decode
    for place, epoch, parts in traced:
        excerpts = [
            Excerpt(document, *origins.get(document, (None, None)), len(tokens), decode(tokens.tolist()))
            for document, tokens in parts
        ]
        yield TracedSample(place, stream.reader.place, epoch, excerpts)


def _pictures(
    stream: "ImageStream", places: NDArray[np.int64], indices: NDArray[np.int64]
) -> Iterator[TracedSample]:
    """The same for a dataset of pictures, of which each is a document; a sample may have several."""
    own, own_keys = stream.locate(indices)
    others, other_keys = stream.others(own, own_keys)
    rows = np.column_stack((own, others.reshape(len(own), -1)))
    keys = np.column_stack((own_keys, other_keys.reshape(len(own), -1)))
    ids = stream.rows["id"][rows]
    origins = origins_of(stream.dataset, set(ids.ravel().tolist()))
    epochs = indices // stream.order.samples
    for sample, (place, epoch) in enumerate(zip(places.tolist(), epochs.tolist(), strict=True)):
        excerpts = [
            Excerpt(document, *origins.get(document, (None, None)), 0, stream.caption(row, key))
            for document, row, key in zip(
                ids[sample].tolist(), rows[sample].tolist(), keys[sample], strict=True
            )
        ]
        yield TracedSample(place, stream.place, epoch, excerpts)


def sources_of(stream: SampleStream, epoch: int, window: int) -> Sources:
    """Which document every position of a window's slots is from."""
    start, stop = stream.order.bounds(window)
    begins, ids, missing, at = [], [], [], 0
    for span in stream.order.stream(epoch).spans(start, stop):
        block, size = stream.reader.read(span.block), span.stop - span.start
        if block is None:
            missing.append(slice(at, at + size))
        else:
            heads = document_heads(block)
            inside = (heads < span.stop) & (heads + block.lengths >= span.start)
            begins.append(at + heads[inside] - span.start)
            ids.append(block.ids[inside])
        at += size
    starts = np.concatenate([np.zeros(0, np.int64), *begins])
    positions = StreamSlice(np.arange(stop - start + 1), starts[starts >= 0], missing)
    laid_out = stream.cut(positions, window)
    real = np.arange(stream.order.width) < laid_out.lengths[:, None]
    document = np.searchsorted(starts, laid_out.tokens, side="right") - 1
    return Sources(np.where(real, document, -1), np.concatenate([np.zeros(0, np.uint64), *ids]))


def cut_by_document(tokens: NDArray[Any], document: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[Any]]]:
    """(document, tokens) of each run of positions from one document; what is not real is left out."""
    edges = np.flatnonzero(np.diff(document)) + 1
    for part in np.split(np.arange(len(document)), edges):
        if document[part[0]] >= 0:
            yield int(document[part[0]]), tokens[part]


def origins_of(
    dataset: Dataset | ImageDataset, documents: set[int]
) -> dict[int, tuple[str | None, str | None]]:
    """Source and URL of each document, from the dataset's documents.parquet; empty where it has none."""
    if isinstance(dataset, RemoteDataset) and dataset.has(DOCUMENTS):
        dataset.copy(DOCUMENTS)
    path = dataset.folder / DOCUMENTS
    if not path.is_file():
        return {}
    import pyarrow
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    wanted = compute.field("id").isin(pyarrow.array(sorted(documents), pyarrow.uint64()))
    table = parquet.read_table(path, columns=["id", "source", "url"], filters=wanted)
    return {row["id"]: (row["source"], row["url"]) for row in table.to_pylist()}
