"""Run tasks of lm-evaluation-harness on a model of ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.contract.names import one_line
from data_prep.contract.settings import InputError
from pipeline.evaluation.workers import Workers

MISSING = "lm-evaluation-harness is not installed; pip install '.[lm-eval]' has it"


@dataclass(frozen=True)
class Request:
    """What is to be run."""

    tasks: Sequence[str]
    """Names of its tasks and groups, or task files."""
    include: Path | None = None
    """A folder with task files of one's own."""
    shots: int | None = None
    """Examples before each question; None leaves it to the tasks."""
    limit: int | None = None
    """At most so many questions of each task."""
    seed: int = 0


def run_harness(workers: Workers, request: Request) -> dict[str, Any]:
    """The harness's own results: `results`, `versions`, `samples` of every question, and so on.

    `cut` says how many prompts had no room in the model, and lost their beginning.

    `InputError` where it is not installed, knows no such task, or cannot get a task's data.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager

        from pipeline.evaluation.harness.model import HarnessModel
    except ImportError as error:
        raise InputError(f"{MISSING} ({one_line(str(error))})") from None
    if not workers.model.config.can_answer:
        raise InputError("a lone encoder gives no answers; --harness takes decoders and encoder-decoders")
    asked = HarnessModel(workers, request.seed)
    manager = TaskManager(include_path=str(request.include) if request.include else None)
    names = [one for one in request.tasks if not Path(one).is_file()]
    unknown = [one for one in names if not manager.match_tasks([one])]
    if unknown:
        raise InputError(
            f"--harness {one_line(unknown[0])}: lm-evaluation-harness knows no task of this name"
        )
    try:
        found = simple_evaluate(
            model=asked,
            tasks=list(request.tasks),
            num_fewshot=request.shots,
            limit=request.limit,
            bootstrap_iters=0,
            task_manager=manager,
            random_seed=request.seed,
            numpy_random_seed=request.seed,
            torch_random_seed=request.seed,
            fewshot_random_seed=request.seed,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = one_line(str(error))[:300]
        raise InputError(f"--harness {','.join(request.tasks)}: cannot be run ({reason})") from None
    return {**found, "cut": asked.cut}
