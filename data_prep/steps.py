"""One run of a preparation: what its steps share, whatever is prepared."""

from collections.abc import Callable, Iterable
from typing import Any

from data_prep.checking import sound
from data_prep.parts import Execute, Part, Work, finished, plan, run_parts
from data_prep.progress import START, Amount, Progress
from data_prep.storage import Storage


class Steps:
    """Runs steps of parts, those of them that have not been done.

    used      every part of this run: the others in the folder are an earlier recipe's
    funnel    what was left after each step that took something away
    input     what became of the files and their records
    """

    def __init__(
        self,
        storage: Storage,
        execute: Execute,
        notify: Callable[[str], None],
        start: Callable[[], None] = lambda: None,
    ) -> None:
        self.storage, self.execute, self.notify, self.start = storage, execute, notify, start
        self.progress = Progress(notify)
        self.used: list[Part] = []
        self.funnel: list[dict[str, Any]] = []
        self.input: dict[str, Any] = {}

    def step(self, work: Work, wanted: Iterable[Part], size: Callable[[Part], Amount]) -> list[Part]:
        """Run the parts of one step; `size` says what a finished part looked at."""
        wanted = list(wanted)
        done = sound(self.execute, self.storage, finished(wanted), self.notify)
        if len(done) < len(wanted):
            self.progress.begin(START, 0)
            self.start()
            self.progress.end()
        self.progress.begin(wanted[0].step if wanted else "", len(wanted), len(done))
        parts = run_parts(self.execute, work, wanted, done, lambda part: self.progress.part(size(part)))
        self.progress.end()
        self.used += parts
        return parts

    def plan(self, step: str, version: int, arguments: dict[str, Any], *depends: Any, **options: Any) -> Part:
        """A part of a step, named by all that its result depends on."""
        return plan(self.storage, step, version, arguments, *depends, **options)
