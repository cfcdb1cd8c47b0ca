"""When a training is started again and when it is not, with launchers that only pretend."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from data_prep.contract.receipt import write_atomic
from data_prep.contract.settings import InputError
from launch import attempts
from launch.settings import SuperviseConfig
from launch.supervise import NotReadyError, Supervisor, outcome_of
from pipeline.checkpoints.run_folder import IDENTITY
from pipeline.health.stopping import RESUME
from pipeline.tracking import metrics
from pipeline.training.job import Job
from tests.pipeline import tiny
from tests.pipeline.stages_of import pretraining


@pytest.fixture
def job(tmp_path: Path, tiny_dataset: Path) -> Job:
    """A job in whose folder nothing has been done."""
    (tmp_path / "dataset").symlink_to(tiny_dataset)
    made = pretraining(tiny.config(), tmp_path)
    made.folder.mkdir()
    write_atomic(made.folder / IDENTITY, f'{{"fingerprint": "{made.fingerprint}"}}')
    return made


@dataclass
class Shell:
    """Runs a shell command for each attempt in turn, the last one from then on."""

    scripts: list[str | Exception]
    flags: list[list[str]] = field(default_factory=list)
    cleaned: list[str] = field(default_factory=list)

    def command(self, attempt: str, flags: list[str]) -> tuple[list[str], dict[str, str]]:
        script = self.scripts[min(len(self.flags), len(self.scripts) - 1)]
        self.flags.append(flags)
        if isinstance(script, Exception):
            raise script
        return ["sh", "-c", script], dict(os.environ)

    def clean(self, attempt: str) -> None:
        self.cleaned.append(attempt)


def supervise(
    job: Job, *scripts: str | Exception, restarts: int = 2, **options: Any
) -> tuple[int, str, Shell]:
    """Status, what was said and the launcher, of attempts that run these scripts."""
    said: list[str] = []
    shell = Shell(list(scripts))
    settings = SuperviseConfig(restarts=restarts, backoff_seconds=0.01)
    status = Supervisor(job, shell, settings, said.append, **options).run()
    return status, "\n".join(said), shell


def step(job: Job, number: int) -> str:
    """A script's line that does a step."""
    return f"echo '{{\"step\": {number}}}' >> {job.folder / metrics.METRICS}"


def test_a_failure_is_started_again(job: Job) -> None:
    status, said, shell = supervise(job, "kill -9 $$", "exit 1", "exit 0")
    assert (status, len(shell.flags), len(shell.cleaned)) == (0, 3, 3)
    assert "failed after step 0 (the launcher ended with status -9, a process was ended by SIGKILL" in said
    assert len({tuple(flags) for flags in shell.flags}) == 3, "attempts have names of their own"


def test_a_crash_loop_is_given_up(job: Job) -> None:
    status, said, shell = supervise(job, f"{step(job, 7)}; exit 3")
    assert (status, len(shell.flags)) == (3, 3)
    assert said.splitlines()[-1] == (
        "pretrain: given up after 2 restarts without a new step; it does not get past step 7 (the launcher "
        "ended with status 3)"
    )


def test_new_steps_are_not_a_crash_loop(job: Job) -> None:
    scripts = [f"{step(job, number)}; exit 1" for number in range(1, 7)]
    status, said, shell = supervise(job, *scripts, "exit 0", restarts=1)
    assert (status, len(shell.flags)) == (0, 7)
    assert "past step 5 again" in said


def test_another_jobs_folder_is_not_progress(job: Job) -> None:
    write_atomic(job.folder / IDENTITY, '{"fingerprint": "of another"}')
    metrics.append(job.folder / metrics.METRICS, 1000, {})
    assert Supervisor(job, Shell(["exit 0"]), SuperviseConfig(), print)._furthest == 0


@pytest.mark.parametrize("status", [2, RESUME])
def test_bad_input_and_a_stop_are_not_started_again(job: Job, status: int) -> None:
    result, _, shell = supervise(job, f"exit {status}")
    assert (result, len(shell.flags)) == (status, 1)


def test_a_rank_knows_better_than_its_launcher(job: Job) -> None:
    script = f"cd {attempts.folder_of(job.work, job.stage)}/0-*; echo 2 host > rank-00003; exit 1"
    status, _, shell = supervise(job, script)
    assert (status, len(shell.flags)) == (2, 1)


def test_a_launcher_that_outlives_its_ranks_is_ended(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.supervise.GRACE_SECONDS", 0.5)
    folder = job.work / ".pretrain.watch"
    hung = f"mkdir -p {folder}; touch {folder}/reported; sleep 3600"
    began = time.monotonic()
    status, _, shell = supervise(job, hung, "exit 0")
    assert (status, len(shell.flags)) == (0, 2)
    assert time.monotonic() - began < 1200


def test_hosts_that_do_not_answer_are_waited_for(job: Job) -> None:
    status, said, _ = supervise(job, NotReadyError("node2 did not answer"), "exit 0")
    assert status == 0
    assert "(node2 did not answer)" in said


def test_the_time_is_passed_on_and_ends(job: Job) -> None:
    _, _, shell = supervise(job, "exit 0", deadline=time.monotonic() + 9000)
    assert shell.flags[0][-2] == "--max-minutes"
    assert 140 < float(shell.flags[0][-1]) <= 150
    status, said, shell = supervise(job, "exit 0", deadline=time.monotonic() - 1)
    assert (status, shell.flags) == (RESUME, [])
    assert "the same command goes on" in said


def test_sigterm_asks_the_ranks_to_stop(job: Job) -> None:
    """A script that plays the rank: it leaves with 75 when it is asked to."""
    folder = attempts.folder_of(job.work, job.stage)
    asked = f"kill -TERM {os.getpid()}; cd {folder}/0-*; while [ -f go ]; do sleep 0.1; done; exit 75"
    status, said, shell = supervise(job, asked)
    assert (status, len(shell.flags)) == (RESUME, 1)
    assert "saving after this step" in said


def test_two_commands_do_not_train_one_run(job: Job) -> None:
    first = attempts.Attempts(job.work, job.stage)
    with pytest.raises(InputError, match="another command is training here"):
        supervise(job, "exit 0")
    first.close()
    assert supervise(job, "exit 0")[0] == 0


def test_a_rank_of_an_earlier_attempt_ends_itself(job: Job) -> None:
    supervisor = attempts.Attempts(job.work, job.stage)
    old = supervisor.begin(0)
    child = os.fork()
    if child == 0:
        attempts.follow(supervisor.folder / old, lambda: None)
        time.sleep(3600)
    time.sleep(0.5)
    supervisor.retire()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


@pytest.mark.parametrize("status", [137, -9])
def test_a_kill_may_be_for_lack_of_memory(status: int) -> None:
    beside = attempts.Report(1, 1, "here")
    assert "rank 1 on here had an error, a process was ended by SIGKILL" in outcome_of(status, [beside]).why
    assert "too little memory" in outcome_of(status, []).why
    assert "memory" not in outcome_of(1, [beside]).why
