"""Requests in a thread: queues and slots of bounded size, time, those that give up, and a step that fails."""

import threading
from collections.abc import Iterator

import pytest

from pipeline.generation.continuous import Drawn, Request
from pipeline.generation.sampling import Sampling, generate
from pipeline.generation.scheduler import BusyError, Cut, Scheduler
from tests.pipeline.generation.models import prompts, random_model

WAIT = 120.0
"""Seconds after which a test fails that would hang."""


class Told:
    """What a ticket was told, and when nothing more will come."""

    def __init__(self, requests: int = 1) -> None:
        self.tokens: list[list[int]] = [[] for _ in range(requests)]
        self.ends: dict[int, str] = {}
        self.first, self.done = threading.Event(), threading.Event()

    def __call__(self, parts: list[tuple[int, Drawn | Cut]]) -> None:
        for number, what in parts:
            if isinstance(what, Cut):
                self.ends[number] = what.why
                continue
            if what.token is not None:
                self.tokens[number].append(what.token)
            if what.end:
                self.ends[number] = what.end
        self.first.set()
        if len(self.ends) == len(self.tokens):
            self.done.set()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


MODEL = random_model()
PROMPTS = prompts(4, 7, 2, 5, 9, 3)
ENDLESS = 1_000_000


def request(number: int, tokens: int = 6) -> Request:
    return Request(tuple(PROMPTS[number]), tokens, Sampling(0.0))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scheduler(clock: Clock) -> Iterator[Scheduler]:
    one = Scheduler(MODEL, slots=2, queue=3, clock=clock)
    yield one
    one.close(0.0)
    assert not one.alive


def test_all_are_answered_in_turn_and_together(scheduler: Scheduler) -> None:
    told = Told(5)
    scheduler.submit([request(number) for number in range(5)], told, 60.0)
    assert told.done.wait(WAIT)
    assert told.tokens == [generate(MODEL, [prompt], 6)[0] for prompt in PROMPTS[:5]]
    load = scheduler.load()
    assert (load.waiting, load.running) == (0, 0)
    assert load.steps == 18  # five answers of six ids in two slots


def test_a_queue_that_is_full_takes_no_more_until_somebody_gives_up(scheduler: Scheduler) -> None:
    first, second = Told(2), Told(3)
    one = scheduler.submit([request(0, ENDLESS), request(1, ENDLESS)], first, 60.0)
    scheduler.submit([request(2), request(3), request(4)], second, 60.0)
    assert first.first.wait(WAIT)
    with pytest.raises(BusyError):
        scheduler.submit([request(5)], Told(), 60.0)
    assert not second.first.is_set()
    scheduler.give_up(one)
    assert second.done.wait(WAIT)
    assert not first.ends
    assert scheduler.load().running == 0


def test_one_of_several_answers_is_given_up(scheduler: Scheduler) -> None:
    both, third = Told(2), Told()
    ticket = scheduler.submit([request(0, ENDLESS), request(1, ENDLESS)], both, 60.0)
    scheduler.give_up(ticket, 1)
    scheduler.submit([request(2)], third, 60.0)
    assert third.done.wait(WAIT)
    assert scheduler.load().running == 1


def test_what_takes_too_long_is_cut_whether_it_runs_or_waits(scheduler: Scheduler, clock: Clock) -> None:
    running, waiting, last = Told(2), Told(), Told()
    scheduler.submit([request(0, ENDLESS), request(1, ENDLESS)], running, 60.0)
    scheduler.submit([request(2)], waiting, 30.0)
    scheduler.submit([request(3)], last, 90.0)
    assert running.first.wait(WAIT)
    clock.now = 31.0
    assert waiting.done.wait(WAIT)
    assert (waiting.ends, waiting.tokens) == ({0: "time"}, [[]])
    clock.now = 61.0
    assert running.done.wait(WAIT)
    assert set(running.ends.values()) == {"time"}
    assert last.done.wait(WAIT)
    assert last.ends == {0: "length"}


def test_closing_lets_answers_end_and_then_cuts_them(clock: Clock) -> None:
    scheduler = Scheduler(MODEL, slots=1, queue=3, clock=clock)
    endless, waiting = Told(), Told()
    scheduler.submit([request(0, ENDLESS)], endless, 60.0)
    scheduler.submit([request(1)], waiting, 60.0)
    assert endless.first.wait(WAIT)
    scheduler.drain(5.0)
    with pytest.raises(BusyError):
        scheduler.submit([request(2)], Told(), 60.0)
    assert not endless.ends
    clock.now = 5.0
    assert endless.done.wait(WAIT)
    assert waiting.done.wait(WAIT)
    assert (endless.ends, waiting.ends) == ({0: "closing"}, {0: "closing"})
    scheduler.close(0.0)


def test_a_model_whose_rows_are_not_apart_answers_one_at_a_time() -> None:
    scaling = {"kind": "dynamic", "factor": 2.0, "original_positions": 20}
    model = random_model(positions="rope", rope_scaling=scaling)
    scheduler, told = Scheduler(model, slots=8, queue=3), Told(2)
    scheduler.submit([request(0, 25), request(1, 25)], told, 60.0)
    assert told.done.wait(WAIT)
    assert told.tokens == [generate(model, [prompt], 25)[0] for prompt in PROMPTS[:2]]
    scheduler.close(0.0)


def test_a_step_that_fails_ends_those_in_it_and_no_others(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    broken, later = Told(), Told()
    with monkeypatch.context() as patch:
        patch.setattr(scheduler._batch, "step", fail)
        scheduler.submit([request(0)], broken, 60.0)
        assert broken.done.wait(WAIT)
    assert broken.ends == {0: "failed"}
    scheduler.submit([request(1)], later, 60.0)
    assert later.done.wait(WAIT)
    assert later.tokens == generate(MODEL, [PROMPTS[1]], 6)
    assert "out of memory" in capsys.readouterr().err
