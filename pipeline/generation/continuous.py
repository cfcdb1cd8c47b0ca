"""Continuous batching: requests join a running batch, and leave it, between any two of its steps.

A request that joins is read by itself and its keys and values are put below those of the others, so that the
next step adds a token to all of them at once. What follows a prompt is what `generate` makes of it alone: its
draws are of its own stream, and where it outgrows what a decoder sees it goes on with the same window. In the
last digits of float32 alone a sum may depend on how many rows are multiplied at once.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from pipeline.generation.model import GenerativeModel, Session, first_row, has_encoder, window
from pipeline.generation.sampling import Sampling, choose, stream_of

ROOM = 64
"""Columns that are made at once for what is still to come."""
End = Literal["stop", "length"]
"""An id that stops an answer, which is no part of it, or the most tokens."""
Likeliest = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Request:
    """One answer that is asked for."""

    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    stop_ids: frozenset[int] = frozenset()
    before: int = 0
    """How many answers to the same prompt at the same seed stand before it: each draws by itself."""
    likeliest: int | None = None
    """The log-probabilities of so many likeliest ids are told, and that of the drawn one; None tells none."""


@dataclass(frozen=True)
class Drawn:
    """What a step has given a request."""

    token: int | None
    """The next id of its answer; None where one was drawn that only ends it."""
    end: End | None = None
    log: float | None = None
    """Natural log-probability of the id by the model alone, before temperature and filters."""
    likeliest: Likeliest = ()
    """The likeliest ids with theirs, the likeliest first."""


@dataclass
class _Row:
    """A request under way: the ids of its decoder's row and what it draws from."""

    request: Request
    ids: list[int]
    draws: np.random.Generator
    made: int = 0


Key = TypeVar("Key", bound=Hashable)


class RunningBatch(Generic[Key]):
    """Requests that are answered together, under keys of the caller's."""

    def __init__(self, model: GenerativeModel) -> None:
        self.model, self.longest = model, model.config.context_length
        self._session: Session | None = None
        self._going: dict[Key, _Row] = {}
        """Those whose last id the session has not seen yet, in the order of its rows."""
        self._starting: dict[Key, _Row] = {}
        """Those that are to be read before the next step: new ones, and those whose window moves on."""

    def __len__(self) -> int:
        return len(self._going) + len(self._starting)

    def join(self, key: Key, request: Request) -> None:
        """Answer a request from the next step on. `InputError` for a prompt too long for an encoder."""
        assert key not in self._going
        assert key not in self._starting
        row = first_row(self.model, request.prompt)
        draws = stream_of(request.prompt, request.before, request.sampling.seed)
        self._starting[key] = _Row(request, row, draws)

    def leave(self, key: Key) -> None:
        """Go on without a request, which may have left already."""
        self._starting.pop(key, None)
        if key in self._going:
            self._keep([one for one in self._going if one != key])

    def step(self) -> dict[Key, Drawn]:
        """One more id for every request; those that it ends have left."""
        if not len(self):
            return {}
        logits_BV = self._logits()[:, : self.model.vocabulary.size]
        rows = list(self._going.values())
        draws_B = torch.tensor([row.draws.random() for row in rows], dtype=torch.float64)
        tokens = _chosen(logits_BV, [row.request.sampling for row in rows], draws_B.to(logits_BV.device))
        found = {}
        for key, row, token, logits_V in zip(self._going, rows, tokens, logits_BV, strict=True):
            row.ids.append(token)
            row.made += 1
            found[key] = _told(row, token, logits_V, self._most(row))
        self._keep([key for key in self._going if found[key].end is None])
        return found

    def _most(self, row: _Row) -> int:
        """Ids of an answer at most: behind an encoder no more than the decoder's longest."""
        return (
            min(row.request.max_tokens, self.longest) if has_encoder(self.model) else row.request.max_tokens
        )

    def _logits(self) -> Tensor:
        """[B, V] what follows each row, in the order of `_going`, which all rows are in now."""
        self._move_windows()
        found = []
        if self._going:
            assert self._session is not None
            if self._session.full:
                self._session.join([], ROOM)
            last = torch.tensor([row.ids[-1] for row in self._going.values()])
            found.append(self._session.step(last.to(self._device)))
        if self._starting:
            found.append(self._start())
        return torch.cat(found)

    def _move_windows(self) -> None:
        """Those whose row has filled what a decoder sees are read anew, from a later start."""
        moved = {key: row for key, row in self._going.items() if self._seen(row) == self.longest}
        if moved:
            self._keep([key for key in self._going if key not in moved])
            self._starting |= moved

    def _seen(self, row: _Row) -> int:
        """How many ids of a row its window has without the last one."""
        return len(window(row.ids[:-1], self.longest))

    def _start(self) -> Tensor:
        """Read those that begin; they stand behind the others from now on."""
        rows = list(self._starting.values())
        sources = [row.request.prompt for row in rows] if has_encoder(self.model) else None
        session = self.model.session(sources)
        logits_BV: Tensor = session.start([window(row.ids, self.longest) for row in rows], ROOM)
        if self._session is None:
            self._session = session
        else:
            self._session.join([session], ROOM)
        self._device = logits_BV.device
        self._going |= self._starting
        self._starting = {}
        return logits_BV

    def _keep(self, keys: Sequence[Key]) -> None:
        """Go on with these rows alone."""
        if len(keys) == len(self._going):
            return
        places = [place for place, key in enumerate(self._going) if key in {*keys}]
        self._going = {key: self._going[key] for key in keys}
        if not keys:
            self._session = None
            return
        assert self._session is not None
        self._session.select(torch.tensor(places, device=self._device))


def rows_are_apart(model: GenerativeModel) -> bool:
    """Whether a row's numbers depend on no other row: angles that grow with the longest one do."""
    scaling = model.config.model.rope_scaling
    return scaling is None or scaling.kind != "dynamic"


def _chosen(logits_BV: Tensor, samplings: Sequence[Sampling], draws_B: Tensor) -> list[int]:
    """An id for each row; rows that are drawn alike are drawn at once."""
    found = [0] * len(samplings)
    for sampling, places in _alike(samplings):
        chosen = choose(logits_BV[places], sampling, draws_B[places]).tolist()
        for place, token in zip(places, chosen, strict=True):
            found[place] = token
    return found


def _alike(samplings: Sequence[Sampling]) -> Iterator[tuple[Sampling, list[int]]]:
    groups: dict[Sampling, list[int]] = {}
    for place, sampling in enumerate(samplings):
        groups.setdefault(replace(sampling, seed=0), []).append(place)
    yield from groups.items()


def _told(row: _Row, token: int, logits_V: Tensor, most: int) -> Drawn:
    stopped = token in row.request.stop_ids
    if stopped:
        return Drawn(None, "stop")
    end: End | None = "length" if row.made >= most else None
    if row.request.likeliest is None:
        return Drawn(token, end)
    logs_V = logits_V.float().log_softmax(0)
    best = logs_V.topk(min(row.request.likeliest, len(logs_V)))
    likeliest = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    return Drawn(token, end, float(logs_V[token]), likeliest)
