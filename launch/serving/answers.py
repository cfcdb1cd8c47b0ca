"""The answers to one request as they come: text that no stop sequence is in, log-probabilities, why it ended.

A part of a stop sequence at the end of the text is held back until it is known what it becomes. Between the
scheduler's thread and the server's loop there is one queue for each request; what has piled up in it while a
client was slow goes out as one piece.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from data_prep.contract.cleaning import clean
from pipeline.generation.continuous import Drawn, Request
from pipeline.generation.scheduler import Cut, Scheduler
from pipeline.prompting.text import Growing

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class TokenLog:
    """An id of an answer, and its log-probability and those of the likeliest in its place."""

    token: int
    log: float
    likeliest: tuple[tuple[int, float], ...]
    offset: int
    """Characters of the answer before it."""


@dataclass(frozen=True)
class Piece:
    """What an answer has more."""

    index: int
    """Which one of the request's answers."""
    text: str
    logs: list[TokenLog]
    finish: Finish | None


class BrokenError(Exception):
    """The server cannot go on with an answer."""


@dataclass
class Answer:
    """The text of one answer, from its ids."""

    index: int
    growing: Growing
    stops: Sequence[str] = ()
    echo: str = ""
    """What its text begins with: no stop sequence is looked for in it."""
    whole: str = ""
    """All of its text, with what is held back."""
    sent: int = 0
    tokens: int = 0
    """Ids so far."""
    finish: Finish | None = None
    _logs: list[TokenLog] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.whole = self.echo

    @property
    def _searched(self) -> int:
        """Characters in which no stop sequence can begin any more."""
        return max(self.sent, len(self.echo))

    def add(self, told: Sequence[Drawn | Cut]) -> Piece:
        """What several steps have given it."""
        for one in told:
            if self.finish is None:
                self._take(one)
        most = len(self.whole) if self.finish else held(self.whole, self.stops, self._searched)
        text, self.sent = self.whole[self.sent : most], max(self.sent, most)
        return Piece(self.index, text, self._told_logs(), self.finish)

    def _take(self, one: Drawn | Cut) -> None:
        if isinstance(one, Cut):
            if one.why != "time":
                words = {"closing": "the server is stopping", "failed": "the model failed on this request"}
                raise BrokenError(words[one.why])
            self._end("length")
            return
        if one.token is not None:
            self.tokens += 1
            if one.log is not None:
                self._logs.append(TokenLog(one.token, one.log, one.likeliest, len(self.whole)))
            self.whole += clean(self.growing.add(one.token))
            if self._stopped():
                return
        if one.end is not None:
            self._end(one.end)

    def _end(self, finish: Finish) -> None:
        self.whole += clean(self.growing.rest())
        if not self._stopped():
            self.finish = finish

    def _stopped(self) -> bool:
        """Whether the text has a stop sequence, which ends it."""
        found = [at for stop in self.stops if (at := self.whole.find(stop, self._searched)) >= 0]
        if found:
            self.whole, self.finish = self.whole[: min(found)], "stop"
            self._logs = [one for one in self._logs if one.offset < len(self.whole)]
        return bool(found)

    def _told_logs(self) -> list[TokenLog]:
        """Those whose text has been sent."""
        count = sum(1 for one in self._logs if self.finish or one.offset < self.sent)
        told, self._logs = self._logs[:count], self._logs[count:]
        return told


def held(text: str, stops: Sequence[str], sent: int) -> int:
    """How much of a text can be sent: all but an end that a stop sequence may begin with.

    >>> held("one\\nUs", ["\\nUser:"], 0)
    3
    """
    longest = max(map(len, stops), default=1) - 1
    for start in range(max(sent, len(text) - longest), len(text)):
        if any(stop.startswith(text[start:]) for stop in stops):
            return start
    return len(text)


Parts = Sequence[tuple[int, Drawn | Cut]]


class Pieces:
    """The answers to one request, under way from now on until they have ended or are closed.

    `BusyError` where there is no room for them.
    """

    def __init__(
        self, scheduler: Scheduler, requests: Sequence[Request], answers: Sequence[Answer], seconds: float
    ) -> None:
        self.answers, self._scheduler = answers, scheduler
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Parts] = asyncio.Queue()
        self._going = {answer.index for answer in answers}
        self._ticket = scheduler.submit(requests, self._tell, seconds)

    @property
    def going(self) -> bool:
        """Whether an answer has not ended."""
        return bool(self._going)

    def close(self) -> None:
        """Nobody wants more of them."""
        self._scheduler.give_up(self._ticket)

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """The pieces of all answers, each answer's in order. `BrokenError` where the server cannot go on."""
        while self._going:
            told: dict[int, list[Drawn | Cut]] = {}
            for number, one in await self._all_there_is():
                told.setdefault(number, []).append(one)
            for number in told.keys() & self._going:
                piece = self.answers[number].add(told[number])
                if piece.finish:
                    self._going.remove(number)
                    self._scheduler.give_up(self._ticket, number)
                if piece.text or piece.finish or piece.logs:
                    yield piece

    def _tell(self, parts: Parts) -> None:
        with suppress(RuntimeError):  # the server's loop has ended
            self._loop.call_soon_threadsafe(self._queue.put_nowait, parts)

    async def _all_there_is(self) -> list[tuple[int, Drawn | Cut]]:
        found = [*await self._queue.get()]
        while not self._queue.empty():
            found += self._queue.get_nowait()
        return found
