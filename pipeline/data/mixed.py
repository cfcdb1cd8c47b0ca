"""Samples of one stream, or of several dealt out by weight, whatever the samples are."""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.data.mixture import Mixture
from pipeline.data.order import SampleOrder

S = TypeVar("S")


class Stream(Protocol[S]):
    """An endless sequence of samples of one dataset."""

    order: SampleOrder

    @property
    def place(self) -> str:
        """The dataset's folder or address."""
        ...

    def samples(self, indices: NDArray[np.int64]) -> S:
        """The samples with these indices [B], in this order."""
        ...

    def shards(self, indices: NDArray[np.int64]) -> set[str]:
        """The shards that some samples are read from."""
        ...

    def merge(self, places: Sequence[NDArray[np.int64]], parts: Sequence[S]) -> S:
        """One batch of several, the samples of each part at its places."""
        ...


OfKind = TypeVar("OfKind", bound=Stream)  # type: ignore[type-arg]


class MixedStream(Generic[OfKind, S]):
    """Samples dealt out to several streams by weight; all must have samples of one shape."""

    def __init__(self, streams: Sequence[OfKind], mixture: Mixture) -> None:
        self.streams, self.mixture = streams, mixture

    def samples(self, indices: NDArray[np.int64]) -> S:
        """The samples with these indices [B], in this order."""
        if len(self.streams) == 1:
            found: S = self.streams[0].samples(indices)
            return found
        shares = self.deal(indices)
        merged: S = self.streams[0].merge(
            [places for _, places, _ in shares], [stream.samples(own) for stream, _, own in shares]
        )
        return merged

    def deal(self, indices: NDArray[np.int64]) -> list[tuple[OfKind, NDArray[np.int64], NDArray[np.int64]]]:
        """(stream, places, own): `indices[places]` are the samples `own` of that stream."""
        datasets, own = self.mixture.assign(indices)
        places = [np.flatnonzero(datasets == number) for number in range(len(self.streams))]
        return [
            (stream, some, own[some]) for stream, some in zip(self.streams, places, strict=True) if len(some)
        ]

    def shards(self, indices: NDArray[np.int64]) -> set[str]:
        """The shards that some samples are read from."""
        return set().union(*(stream.shards(own) for stream, _, own in self.deal(indices)))
