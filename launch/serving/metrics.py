"""What a server counts, in Prometheus' text format (version 0.0.4). Of no more than the server's own loop."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.generation.scheduler import Load

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the buckets of durations."""


@dataclass
class Histogram:
    """How many values lie at or below each bound."""

    bounds: Sequence[float] = SECONDS
    counts: Counter[float] = field(default_factory=Counter)
    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """One more value."""
        self.counts.update(bound for bound in self.bounds if value <= bound)
        self.total += value
        self.count += 1

    def lines(self, name: str) -> Iterator[str]:
        """Its samples."""
        for bound in self.bounds:
            yield f'{name}_bucket{{le="{bound}"}} {self.counts[bound]}'
        yield f'{name}_bucket{{le="+Inf"}} {self.count}'
        yield f"{name}_sum {self.total}"
        yield f"{name}_count {self.count}"


@dataclass
class Metrics:
    """Everything that is counted."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By route and status."""
    prompt_tokens: int = 0
    generated_tokens: int = 0
    given_up: int = 0
    """Answers whose clients went away."""
    first_token: Histogram = field(default_factory=Histogram)
    whole: Histogram = field(default_factory=Histogram)

    def text(self, load: Load, slots: int) -> str:
        """The page that Prometheus reads."""
        samples = [
            f'bloomery_requests_total{{route="{r}",status="{s}"}} {n}' for (r, s), n in self._counted()
        ]
        first, whole = "bloomery_first_token_seconds", "bloomery_answer_seconds"
        parts = [
            ("bloomery_requests_total", "counter", "Requests by route and status.", samples),
            *_one("bloomery_prompt_tokens_total", "counter", "Tokens of prompts.", self.prompt_tokens),
            *_one("bloomery_generated_tokens_total", "counter", "Tokens of answers.", self.generated_tokens),
            *_one("bloomery_given_up_total", "counter", "Requests whose clients went away.", self.given_up),
            *_one("bloomery_steps_total", "counter", "Steps of the running batch.", load.steps),
            *_one("bloomery_waiting", "gauge", "Answers that wait for a slot.", load.waiting),
            *_one("bloomery_running", "gauge", "Answers under way.", load.running),
            *_one("bloomery_slots", "gauge", "Answers that can be under way at once.", slots),
            (first, "histogram", "Seconds to the first text.", [*self.first_token.lines(first)]),
            (whole, "histogram", "Seconds to the end of all answers.", [*self.whole.lines(whole)]),
        ]
        lines = [
            line
            for name, kind, words, rows in parts
            for line in (f"# HELP {name} {words}", f"# TYPE {name} {kind}", *rows)
        ]
        return "\n".join(lines) + "\n"

    def _counted(self) -> list[tuple[tuple[str, int], int]]:
        return sorted(self.requests.items())


def _one(name: str, kind: str, words: str, value: float) -> list[tuple[str, str, str, list[str]]]:
    return [(name, kind, words, [f"{name} {value}"])]
