"""`bloomery eval RUN --harness TASKS`: lm-evaluation-harness over a run, its results as lines and files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.contract.lock import locked
from data_prep.contract.receipt import write_atomic
from pipeline.evaluation.harness.run import Request, run_harness
from pipeline.evaluation.workers import Workers, processes
from pipeline.generation.load import load_model

RESULTS, SAMPLES = "harness.json", "harness_samples.jsonl"
"""What is left in the folder of `--out`."""


def evaluate_run(
    run: Path, request: Request, out: Path | None, notify: Callable[[str], None], count: int | None = None
) -> dict[str, Any]:
    """The scores of every task by their names; the samples go to files where `out` is given.

    `count` processes are asked, or one a GPU.
    """
    with Workers(load_model(run), run, processes(count)) as workers:
        found = run_harness(workers, request)
    scores = {
        task: {name: value for name, value in one.items() if isinstance(value, int | float)}
        for task, one in found["results"].items()
    }
    for task, one in scores.items():
        told = ", ".join(f"{name.removesuffix(',none')} {value:.4g}" for name, value in one.items())
        notify(f"{task}: {told}")
    if found["cut"]:
        notify(f"{found['cut']} prompts are longer than the model reads, and lost their beginning")
    if out is not None:
        lines = (
            json.dumps({"task": task, **one}, default=str)
            for task, samples in found.get("samples", {}).items()
            for one in samples
        )
        results = {"results": scores, "versions": found.get("versions", {}), "cut": found["cut"]}
        with locked(out, "writing", leave=False):
            out.mkdir(parents=True, exist_ok=True)
            write_atomic(out / RESULTS, json.dumps(results, indent=2))
            write_atomic(out / SAMPLES, "".join(f"{line}\n" for line in lines))
    return scores
