"""Who is answered when: a thread that runs a model for all who ask, first come, first served.

Requests wait in a queue of bounded length, join the running batch when it has a free slot, and leave it when
their answer ends, when nobody wants it any more or when its time is up. So many ids of prompts are read at
once that those whose answers are under way do not wait for long.

    scheduler = Scheduler(model, slots=16, queue=64)
    ticket = scheduler.submit([request], told.append, seconds=60.0)     told: [(0, Drawn(...)), ...]
    scheduler.close(seconds=5.0)
"""

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.generation.continuous import Drawn, Request, RunningBatch, rows_are_apart
from pipeline.generation.model import GenerativeModel, first_row

READ_AT_ONCE = 2048
"""Most ids of prompts that are read between two steps; one prompt is read whatever its length."""


@dataclass(frozen=True)
class Cut:
    """Why an answer has no more: its time is up, the scheduler closes, or something went wrong."""

    why: Literal["time", "closing", "failed"]


Tell = Callable[[Sequence[tuple[int, "Drawn | Cut"]]], None]
"""Called in the scheduler's thread with what there is for a ticket: the numbers of its requests, and what."""


class BusyError(Exception):
    """The queue is full, or nothing is taken any more."""


@dataclass(eq=False)
class Ticket:
    """Requests that were submitted together, each answered in a slot of its own."""

    requests: tuple[Request, ...]
    tell: Tell
    deadline: float
    open: set[int] = field(default_factory=set)
    """Numbers of the requests whose answers have not ended."""


Key = tuple[Ticket, int]


@dataclass(frozen=True)
class Load:
    """How much there is to do."""

    waiting: int
    running: int
    steps: int
    """Steps of the batch so far."""


class Scheduler:
    """Owns a model, which nobody else may run meanwhile. Every method may be called from any thread."""

    def __init__(
        self,
        model: GenerativeModel,
        slots: int,
        queue: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`slots` requests are answered together, where a model's rows are apart, and `queue` more wait."""
        assert slots > 0
        self.slots = slots if rows_are_apart(model) else 1
        self.queue, self._clock = queue, clock
        self._batch: RunningBatch[Key] = RunningBatch(model)
        self._model = model
        self._waiting: deque[Key] = deque()
        self._running: dict[Key, None] = {}
        self._given_up: set[Key] = set()
        self._changed = threading.Condition()
        self._closing: float | None = None
        self._steps = 0
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def submit(self, requests: Sequence[Request], tell: Tell, seconds: float) -> Ticket:
        """Have requests answered, for so long at most.

        `BusyError` where that many cannot wait, `InputError` where one has a prompt too long for an encoder.
        """
        for request in requests:
            first_row(self._model, request.prompt)
        ticket = Ticket(tuple(requests), tell, self._clock() + seconds, set(range(len(requests))))
        with self._changed:
            free = self.slots - len(self._running) + self.queue - len(self._waiting)
            if self._closing is not None or len(requests) > free:
                raise BusyError
            self._waiting.extend((ticket, number) for number in range(len(requests)))
            self._changed.notify_all()
        return ticket

    def give_up(self, ticket: Ticket, number: int | None = None) -> None:
        """Nobody wants these answers any more, or one of them: its slot is free before the next step."""
        with self._changed:
            self._given_up.update((ticket, one) for one in ticket.open if number in (None, one))
            self._changed.notify_all()

    def load(self) -> Load:
        """How much there is to do now."""
        with self._changed:
            return Load(len(self._waiting), len(self._running), self._steps)

    @property
    def alive(self) -> bool:
        """Whether requests are answered."""
        return self._thread.is_alive()

    def drain(self, seconds: float) -> None:
        """Take no more requests; what has not ended in so long is cut."""
        with self._changed:
            self._closing = self._clock() + seconds
            self._changed.notify_all()

    def close(self, seconds: float) -> None:
        """The same, and wait for it."""
        self.drain(seconds)
        self._thread.join()

    def _run(self) -> None:
        while self._prepare():
            try:
                told = self._batch.step()
            except Exception:  # whatever it is, the next ones are answered
                traceback.print_exc()
                self._fail()
                continue
            self._tell(told.items())

    def _prepare(self) -> bool:
        """Wait for something to do; False when there is nothing more to do for good."""
        with self._changed:
            while True:
                self._leave()
                self._cut_late()
                self._join()
                if self._running:
                    self._steps += 1
                    return True
                if self._closing is not None and not self._waiting:
                    return False
                self._changed.wait()

    def _leave(self) -> None:
        """Those that nobody wants leave, wherever they are."""
        if not self._given_up:
            return
        for key in self._given_up & self._running.keys():
            self._free(key)
        self._waiting = deque(key for key in self._waiting if key not in self._given_up)
        self._given_up = set()

    def _cut_late(self) -> None:
        """Those leave whose time is up; all of them where the scheduler's own is."""
        now = self._clock()
        closed = self._closing is not None and now >= self._closing
        late = [key for key in (*self._running, *self._waiting) if closed or now >= key[0].deadline]
        if not late:
            return
        self._waiting = deque(key for key in self._waiting if key not in {*late})
        for key in late:
            if key in self._running:
                self._free(key)
        self._tell((key, Cut("closing" if closed else "time")) for key in late)

    def _join(self) -> None:
        """Those at the head of the queue join while there are slots."""
        read = 0
        while self._waiting and len(self._running) < self.slots:
            ticket, number = self._waiting[0]
            request = ticket.requests[number]
            read += len(request.prompt)
            if read > READ_AT_ONCE and read > len(request.prompt):
                return
            key = self._waiting.popleft()
            self._batch.join(key, request)
            self._running[key] = None

    def _free(self, key: Key) -> None:
        self._batch.leave(key)
        del self._running[key]

    def _fail(self) -> None:
        """A step has failed: all that were in it are cut."""
        with self._changed:
            failed, self._running = [*self._running], {}
            self._batch = RunningBatch(self._model)
        self._tell((key, Cut("failed")) for key in failed)

    def _tell(self, told: Iterable[tuple[Key, Drawn | Cut]]) -> None:
        """Hand each ticket what there is for it; answers that ended have left their slots."""
        by_ticket: dict[Ticket, list[tuple[int, Drawn | Cut]]] = {}
        with self._changed:
            for (ticket, number), what in told:
                by_ticket.setdefault(ticket, []).append((number, what))
                if isinstance(what, Cut) or what.end is not None:
                    ticket.open.discard(number)
                    self._running.pop((ticket, number), None)
        for ticket, parts in by_ticket.items():
            ticket.tell(parts)
