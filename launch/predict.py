"""`bloomery predict`: rows of a file to what a fine-tuned model says of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.contract.receipt import write_atomic
from pipeline.finetuning.inference import load
from pipeline.finetuning.prepared import rows_of


def predict(
    path: Path, given: Path, out: Path | None, task: str, average: bool, write: Callable[[str], None]
) -> dict[str, Any]:
    """A JSON line for every row, into a file or to `write`; returns what there is to say of all."""
    model = load(path, average)
    rows = rows_of(model.task.settings, task, given)
    lines = [
        json.dumps({"where": row.where, **one}, ensure_ascii=False)
        for row, one in zip(rows, model.predict(rows), strict=True)
    ]
    if out:
        write_atomic(out, "".join(f"{line}\n" for line in lines))
        write(f"{out}: {len(lines)} rows")
    else:
        for line in lines:
            write(line)
    return {"task": model.task.name, "rows": len(lines)}
