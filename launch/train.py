"""One process of a training. DeepSpeed's launcher starts it once per device:

    deepspeed launch/train.py launch/recipes/quickstart.yaml
    deepspeed --hostfile HOSTS launch/train.py RECIPE --set train.steps=2000 --work /shared/runs/big

The recipe's dataset has to be prepared already (`bloomery prep RECIPE`). `--stage tune` tunes instead.
SIGTERM and `--max-minutes` save after the step at hand and leave with status 75: the same command goes on.
"""

import argparse
import os
import sys
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from data_prep.contract.family import die_with_parent
from data_prep.contract.names import one_line
from data_prep.contract.settings import InputError
from launch import recipe
from launch.attempts import folder_of, follow, has_been_said, report, restarts_of, speaks
from launch.graph import graph
from launch.quiet import quieten
from launch.remote import unpack
from launch.work import work_folder
from pipeline.health.stopping import RESUME, StopRequest
from pipeline.stages.asked import with_suites
from pipeline.stages.training import Training, check_layout


def main() -> None:
    """Parse the command line, join the world, train."""
    die_with_parent()
    arguments = _parser().parse_args(unpack(sys.argv[1:]))
    try:
        loaded = recipe.load(arguments.recipe, arguments.set, quiet=_is_told(arguments))
        arguments.work = work_folder(loaded, arguments.work)
        if not _train(loaded, arguments):
            _leave(RESUME, arguments)
    except InputError as error:
        if int(os.environ.get("WORLD_SIZE", "1")) == 1 or speaks(_attempt(arguments)):
            print(f"error: {one_line(str(error))}", file=sys.stderr, flush=True)
        _leave(2, arguments)
    except Exception:
        if not has_been_said(_attempt(arguments)):
            traceback.print_exc()
        _leave(1, arguments)


def _train(loaded: recipe.Recipe, arguments: argparse.Namespace) -> bool:
    """Whether the last step is done, and not the time up."""
    stop = StopRequest(arguments.max_minutes)
    stop.listen(siblings=int(os.environ.get("LOCAL_SIZE") or os.environ.get("LOCAL_WORLD_SIZE") or 1))
    restarts = 0
    if attempt := _attempt(arguments):
        restarts = restarts_of(attempt.name)
        follow(attempt, stop.ask)
    quieten()
    found = graph(loaded, arguments.work)
    stage = found.trainings(arguments.stage)
    kind = found.kind(stage)
    assert isinstance(kind, Training)
    *others, job = [replace(one, restarts=restarts) for one in kind.jobs(stage)]
    check_layout(job)
    from pipeline.training.run import run

    before = [(one, partial(kind.batches, stage, one)) for one in others]
    batches = partial(kind.batches, stage, job)
    task = with_suites(kind.task(stage, job), kind.chats)
    return run(job, batches, arguments.resume, stop, task, before)


def _leave(status: int, arguments: argparse.Namespace) -> NoReturn:
    """End now: other ranks may be waiting in a collective that this one will not join."""
    if attempt := _attempt(arguments):
        report(attempt, status)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _attempt(arguments: argparse.Namespace) -> Path | None:
    """The folder of the supervisor's attempt; None where nobody supervises."""
    if not (arguments.attempt and arguments.work):
        return None
    return folder_of(Path(arguments.work), arguments.stage) / str(arguments.attempt)


def _is_told(arguments: argparse.Namespace) -> bool:
    """Whether a supervisor or another rank says what there is to say of the recipe."""
    return bool(arguments.attempt) or os.environ.get("RANK", "0") != "0"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipe", type=Path, help="the recipe's YAML file")
    parser.add_argument("--stage", default="pretrain", help="what to train; pretrain where left out")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key")
    parser.add_argument("--work", help="work folder; runs/NAME where left out")
    parser.add_argument("--resume", action="store_true", help="refuse to start from nothing")
    parser.add_argument("--max-minutes", type=float, help="save and leave with status 75 after so long")
    parser.add_argument("--attempt", help="set by the supervisor of `bloomery train`")
    parser.add_argument("--local_rank", type=int, help="set by DeepSpeed's launcher")
    return parser


if __name__ == "__main__":
    main()
