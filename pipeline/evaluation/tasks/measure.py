"""Put suites to models, part by part: a part that is there already is not asked again.

FOLDER/records/SUITE.parquet     every question with all that came of it, every run below the other
FOLDER/.parts/                   finished parts of an evaluation that has not ended
"""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.contract.receipt import fingerprint
from data_prep.contract.settings import InputError
from pipeline.evaluation.scoring import LanguageModel
from pipeline.evaluation.tasks.asking import ask
from pipeline.evaluation.tasks.encoding import Encoder
from pipeline.evaluation.tasks.figures import figures
from pipeline.evaluation.tasks.prompts import Sitting
from pipeline.evaluation.tasks.questions import Question
from pipeline.evaluation.tasks.records import RECORDS, Record, read_records, write_records
from pipeline.evaluation.tasks.suites import LoadedTask, Suite
from pipeline.evaluation.workers import Workers

PARTS = ".parts"
QUESTIONS_PER_PART = 500


class Measurement:
    """Suites in one folder, put to one model after the other."""

    def __init__(
        self, suites: Sequence[Suite], folder: Path, seed: int, notify: Callable[[str], None]
    ) -> None:
        self.suites, self.folder, self.seed, self.notify = suites, folder, seed, notify
        names = [one.name for one in suites]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"eval.suites: two suites are called {name}")
        self._parts: dict[str, list[Path]] = {name: [] for name in names}

    def ask(
        self, workers: Workers, run: str, identity: str, chat: bool, generate: bool = True
    ) -> dict[str, dict[str, Any]]:
        """Every suite's figures of one run, by suite and task; `identity` stands for its weights.

        Without `generate` only tasks that ask for likelihoods are put to it.
        """
        found: dict[str, dict[str, Any]] = {}
        for suite in self.suites:
            found[suite.name] = {
                task.task.task: figures(task, self.records(task, suite.name, workers, run, identity, chat))
                for task in suite.tasks
                if generate or not task.task.generates
            }
        return found

    def records(
        self, task: LoadedTask, suite: str, workers: Workers, run: str, identity: str, chat: bool = False
    ) -> list[Record]:
        """Every question of one task of a suite with all that came of it."""
        records: list[Record] = []
        reused = 0
        for sitting in task.sittings(self.seed):
            for start in range(0, len(sitting.questions), QUESTIONS_PER_PART):
                marks = (task.identity, sitting.shots, sitting.draw, start, QUESTIONS_PER_PART, self.seed)
                part = self.folder / PARTS / f"{fingerprint(*marks, run, identity, chat)}.parquet"
                some = sitting.questions[start : start + QUESTIONS_PER_PART]
                reused += part.is_file()
                if not part.is_file():
                    part.parent.mkdir(parents=True, exist_ok=True)
                    write_records(part, workers.map(partial(_asked, sitting, chat, run), some))
                records += read_records(part)
                self._parts[suite].append(part)
        if reused:
            self.notify(f"eval: {run}: {task.task.task} goes on from {reused} finished parts")
        return records

    def finish(self) -> None:
        """Put the parts together, a file a suite."""
        (self.folder / RECORDS).mkdir(parents=True, exist_ok=True)
        for name, parts in self._parts.items():
            records = [one for part in parts for one in read_records(part)]
            write_records(self.folder / RECORDS / f"{name}.parquet", records)
        shutil.rmtree(self.folder / PARTS, ignore_errors=True)


def _asked(
    sitting: Sitting, chat: bool, run: str, model: LanguageModel, questions: Sequence[Question]
) -> list[Record]:
    return ask(sitting, questions, Encoder(model, chat), run)
