"""Comparisons made here, whose better answer is known."""

import json
import random
from pathlib import Path
from typing import Any

from tests.pipeline.tiny import WORDS


def pairs(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """The better answer says `sum`, the worse one does not; both are as long."""
    choose = random.Random(seed)
    others = [word for word in WORDS if word != "sum"]
    rows = []
    for _ in range(count):
        words = choose.choices(others, k=choose.randint(3, 6))
        better = [*words]
        better[choose.randrange(len(words))] = "sum"
        texts = {"chosen": " ".join(better) + ".", "rejected": " ".join(words) + "."}
        rows.append({"prompt": f"Say what {choose.choice(others)} does."} | texts)
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
