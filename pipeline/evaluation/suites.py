"""The suites of an evaluation: its dataset's exam and the recipe's own, put to every run and a baseline."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.contract.dataset import Dataset
from pipeline.config import EvaluationConfig
from pipeline.evaluation.exam.make import EXAM, make_exam
from pipeline.evaluation.tasks.contamination import overlaps
from pipeline.evaluation.tasks.measure import Measurement
from pipeline.evaluation.tasks.suites import Suite, read_suite
from pipeline.evaluation.unigram import unigram_model
from pipeline.evaluation.workers import Workers

UNIGRAM = "unigram"
"""What the baseline is called among runs."""


class Suites:
    """Every suite of one evaluation; none for models that have no answers to give."""

    def __init__(
        self, config: EvaluationConfig, data: Dataset, folder: Path, notify: Callable[[str], None]
    ) -> None:
        self.data = data
        self.suites = _suites(config, data, folder) if config.can_answer else []
        self.measurement = Measurement(self.suites, folder, config.seed, notify)
        self._config = config

    def baseline(self) -> dict[str, Any]:
        """The unigram model's figures."""
        model = unigram_model(self._config, self.data)
        mark = self.data.manifest.fingerprint
        return self.measurement.ask(Workers(model), UNIGRAM, mark, False, generate=False)

    def ask(self, workers: Workers, run: str, identity: str, tuned: bool) -> dict[str, Any]:
        """A run's figures, by suite and task; a tuned one is given instructions in the chat template."""
        return self.measurement.ask(workers, run, identity, tuned)

    def describe(self) -> dict[str, Any]:
        """What each suite asks: its tasks with the rows left out and what the train split has of them."""
        found = {}
        for suite in self.suites:
            overlap, seen = overlaps(self.data, {one.task.task: one.questions for one in suite.tasks})
            found[suite.name] = {
                "train_tokens_searched": seen,
                "tasks": {
                    one.task.task: {
                        "about": one.task.about,
                        "level": one.task.level,
                        "score": one.task.score,
                        "normalise": one.task.normalise,
                        "questions": len(one.questions),
                        "broken": dict(one.broken),
                        "chance": one.chance,
                        "searched": overlap[one.task.task].questions,
                        "contaminated": overlap[one.task.task].contaminated,
                    }
                    for one in suite.tasks
                },
            }
        return found


def _suites(config: EvaluationConfig, data: Dataset, folder: Path) -> list[Suite]:
    exam = make_exam(data, config.eval, config.seed, folder / EXAM) if config.eval.exam else None
    return [*([exam] if exam else []), *(read_suite(Path(place)) for place in config.eval.suites)]
