"""What people and other programs do to a run: a second command, Ctrl-C, a database that they hold."""

import os
import shutil
import signal
import sqlite3
from contextlib import closing

from pipeline.health.stopping import RESUME
from tests.distributed.kills import series
from tests.launch.accidents.made import Run, expect


def two_commands(run: Run) -> str:
    """`tune` and a second `train` while `train` is at work in the same folder."""
    run.start(*run.command("train"))
    run.reach(5)
    second, third = Run(run.place), Run(run.place)
    told = {}
    for name, other in (("train", second), ("tune", third)):
        told[name] = other.do(name)
    expect(run.finish() == 0, run.said())
    expect(told["train"] == 2, f"the second train ends with 2, not {told['train']}:\n{run.said()}")
    expect(told["tune"] in (0, 2), run.said())
    expect(len(series(run.work)) == 60, "the first training has all its steps")
    return (
        f"status of the second train {told['train']}, of tune {told['tune']}; the first ends with all steps"
    )


def interrupted(run: Run, verb: str) -> str:
    """Ctrl-C reaches the whole group, as in a terminal; the same command goes on."""
    assert run.process is not None
    os.killpg(run.process.pid, signal.SIGINT)
    status = run.finish()
    expect(status in (130, RESUME), f"status {status}:\n{run.said()}")
    expect(not run.left(), f"processes are left: {run.left()}")
    expect("Traceback" not in run.log.read_text(), run.said(40))
    expect(run.do(verb) == 0, run.said())
    return f"status {status}, no process left, the same command goes on to its end"


def ctrl_c_in_training(run: Run) -> str:
    """Between two steps, wherever that falls."""
    run.start(*run.command("train"))
    run.reach(15)
    return interrupted(run, "train")


def ctrl_c_in_evaluation(run: Run) -> str:
    """When one of the models has been measured."""
    expect(run.do("train") == 0, run.said())
    run.start(*run.command("eval"))
    run.wait(lambda: "eval: unigram" in run.log.read_text())
    return interrupted(run, "eval")


def database_locked(run: Run) -> str:
    """Another program holds MLflow's database for the whole run."""
    database = run.place / "mlflow.db"
    expect(run.do("train", "--set", "train.steps=10") == 0, run.said())
    shutil.rmtree(run.work / "pretrain")
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        status = run.do("train")
        told = [line for line in run.log.read_text().splitlines() if "locked" in line]
    expect(status == 0 and bool(told), run.said())
    expect("Traceback" not in run.log.read_text(), run.said(40))
    return f"trained; said {len(told)} time(s): {told[-1].strip()!r}"


def database_of_another_schema(run: Run) -> str:
    """MLflow's database was made by another version."""
    expect(run.do("train", "--set", "train.steps=10") == 0, run.said())
    shutil.rmtree(run.work / "pretrain")
    with closing(sqlite3.connect(run.place / "mlflow.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'b1f3c2a9d4e5'")
        database.commit()
    status = run.do("train")
    expect("Traceback" not in run.log.read_text(), run.said(40))
    return f"status {status}: {run.said(1)!r}"
