"""`bloomery predict`: rows of a file to what a fine-tuned model says of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.contract.names import printable_json
from data_prep.contract.receipt import write_atomic
from pipeline.finetuning.inference import load
from pipeline.finetuning.prepared import rows_of


def predict(
    path: Path, given: Path, out: Path | None, task: str, average: bool, write: Callable[[str], None]
) -> dict[str, Any]:
    """A JSON line for every row, into a file or to `write`; returns what there is to say of all."""
    model = load(path, average)
    rows = rows_of(model.task.settings, task, given)
    said = [{"where": row.where, **one} for row, one in zip(rows, model.predict(rows), strict=True)]
    if out:
        write_atomic(out, "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in said))
        write(f"{out}: {len(said)} rows")
    else:
        for one in said:
            write(printable_json(one))
    return {"task": model.task.name, "rows": len(said)}
