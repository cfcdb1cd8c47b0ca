"""Several processes that hold a model give what one gives, and evaluations that are killed go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from data_prep.contract.settings import InputError
from pipeline.evaluation.scoring import score
from pipeline.evaluation.tasks import measure
from pipeline.evaluation.tasks.measure import PARTS, Measurement
from pipeline.evaluation.tasks.records import read_records
from pipeline.evaluation.tasks.suites import read_suite
from pipeline.evaluation.workers import Workers
from pipeline.generation.load import load_model
from tests.pipeline import tiny
from tests.pipeline.evaluation.runs import random_run
from tests.pipeline.evaluation.tasks.files import write_task


def write_suite(folder: Path, questions: int) -> None:
    """Choices, answers that are drawn, and chains that vote behind examples that nobody wrote."""
    texts = tiny.sentences(3 * questions, seed=1)
    rows = [
        {"question": f"{number} {texts[number]}", "choices": texts[at : at + 2], "answer": 0, "text": "two"}
        for number, at in enumerate(range(questions, 3 * questions, 2))
    ]
    said: dict[str, Any] = {"choices": None, "answer": "text"}
    write_task(folder, rows, "chosen", few_shot={"shots": [0, 1]})
    write_task(folder, rows, "said", **said, score="f1", generate={"max_tokens": 6, "temperature": 1.0})
    chain = {"way": "auto", "clusters": 2, "paths": 3, "chain_tokens": 8, "answer_tokens": 3}
    write_task(folder, rows, "reasoned", **said, score="exact_match", chain=chain)


def records(folder: Path, suite: Path, run: Path, processes: int) -> list[dict[str, Any]]:
    """Every question of a suite as an evaluation keeps it."""
    measurement = Measurement([read_suite(suite)], folder, 1, print)
    with Workers(load_model(run), run, processes) as workers:
        measurement.ask(workers, "one", "weights", chat=False)
    measurement.finish()
    return read_records(folder / "records" / "suite.parquet")


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """Equal question by question, in order; log-likelihoods but for the order of sums."""
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.pop("log_likelihoods") == pytest.approx(other["log_likelihoods"], abs=1e-5)
        assert one == {key: value for key, value in other.items() if key != "log_likelihoods"}


def test_two_processes_give_what_one_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "QUESTIONS_PER_PART", 5)
    run, suite = random_run(tmp_path / "run"), tmp_path / "suite"
    write_suite(suite, 7)
    same(records(tmp_path / "two", suite, run, 2), records(tmp_path / "one", suite, run, 1))
    with Workers(load_model(run), run, 2) as workers:
        assert workers.map(score, []) == []
        with pytest.raises(InputError, match="no such file"):
            workers.map(ask_for_a_file, [tmp_path, tmp_path / "run"])
        ((process, _),) = workers._started
        process.kill()
        with pytest.raises(InputError, match="has ended"):
            workers.map(ask_for_a_file, [tmp_path, tmp_path])


def ask_for_a_file(model: Any, places: list[Path]) -> list[bool]:
    """What fails in a worker alone."""
    if any(one.name == "run" for one in places):
        raise InputError("no such file")
    return [True for _ in places]


SCRIPT = """
import sys
from pathlib import Path
from pipeline.evaluation.tasks import measure
from tests.pipeline.evaluation import test_workers
if __name__ == "__main__":
    measure.QUESTIONS_PER_PART = 8
    test_workers.records(*map(Path, sys.argv[1:4]), int(sys.argv[4]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_an_evaluation_that_is_killed_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    """SIGKILL behind the first part: the workers end, and what follows asks the other parts alone."""
    run, suite, folder = random_run(tmp_path / "run"), tmp_path / "suite", tmp_path / "killed"
    write_suite(suite, 200)
    (tmp_path / "script.py").write_text(SCRIPT)
    arguments = [str(one) for one in (folder, suite, run, processes)]
    root = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": root}
    command = [sys.executable, str(tmp_path / "script.py"), *arguments]
    asking = subprocess.Popen(command, env=environment, cwd=tmp_path, start_new_session=True)
    while len(list((folder / PARTS).glob("*.parquet"))) < 2:
        assert asking.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    for _ in range(600):
        if not processes_of(asking.pid):
            break
        time.sleep(0.1)
    assert not processes_of(asking.pid), "its workers are still there"
    finished = len(list((folder / PARTS).glob("*.parquet")))
    monkeypatch.setattr(measure, "QUESTIONS_PER_PART", 8)
    asked: list[int] = []
    monkeypatch.setattr(measure, "ask", counting(measure.ask, asked))
    again = records(folder, suite, run, 1)
    parts = 4 * 25
    assert 2 <= finished < parts
    assert len(asked) == parts - finished
    same(again, records(tmp_path / "whole", suite, run, 1))


def counting(ask: Any, asked: list[int]) -> Any:
    """The same, with every call counted."""

    def counted(*arguments: Any) -> Any:
        asked.append(1)
        return ask(*arguments)

    return counted


def processes_of(session: int) -> list[int]:
    """The processes of a session that are still there."""
    found = []
    for one in Path("/proc").iterdir():
        try:
            fields = (one / "stat").read_text().rpartition(")")[2].split()
        except (OSError, NotADirectoryError):
            continue
        if one.name.isdigit() and int(fields[3]) == session and fields[0] != "Z":
            found.append(int(one.name))
    return found
