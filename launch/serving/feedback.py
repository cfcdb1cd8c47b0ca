"""What people think of answers: votes in one file, and in another the comparisons that they make.

votes.jsonl          one row a vote, the newest last; the last one of an answer counts
preferences.jsonl    every answer voted up beside every one to the same prompt voted down, as the kinds
                     `reward` and `dpo` read them: {"prompt": [...], "chosen": "...", "rejected": "..."}
"""

import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from data_prep.contract.cleaning import clean
from data_prep.contract.lock import locked
from data_prep.contract.reading import read_jsonl
from data_prep.contract.receipt import write_atomic
from launch.serving.wire import ChatMessage, Wire
from pipeline.preferences.rankings import prompt_of

VOTES, PREFERENCES = "votes.jsonl", "preferences.jsonl"


class Vote(Wire):
    """What somebody thinks of an answer to a conversation."""

    model: str
    messages: list[ChatMessage]
    answer: str
    vote: Literal["up", "down", "none"]

    def row(self) -> dict[str, Any]:
        """As it is kept. `InputError` where the conversation has nothing to answer."""
        messages = prompt_of([one.plain() for one in self.messages], "messages")
        prompt = [{"role": one.role, "content": one.content} for one in messages]
        return {"model": self.model, "prompt": prompt, "answer": clean(self.answer), "vote": self.vote}


@dataclass(frozen=True)
class Feedback:
    """The two files in a folder, which several servers may share."""

    folder: Path
    _lock = threading.Lock()

    def add(self, vote: Vote) -> int:
        """Keep a vote; how many comparisons there are now. `InputError` where it cannot be kept."""
        row = vote.row()
        with self._lock, locked(self.folder, "keeping a vote"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / VOTES).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            rows = [*comparisons(self._votes())]
            text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows)
            write_atomic(self.folder / PREFERENCES, text)
            return len(rows)

    def _votes(self) -> Iterator[dict[str, Any]]:
        """All votes that can be read: a line that a full disk has cut short is none."""
        for _, row in read_jsonl(self.folder / VOTES, skip=lambda number, error: None):
            if isinstance(row, dict) and {"prompt", "answer", "vote", "model"} <= row.keys():
                yield row


def comparisons(votes: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every answer that was voted up beside every one to the same prompt that was voted down."""
    last: dict[str, dict[str, dict[str, Any]]] = {}
    for row in votes:
        answers = last.setdefault(json.dumps(row["prompt"], sort_keys=True), {})
        answers[row["answer"]] = row
    for answers in last.values():
        up, down = (_voted([*answers.values()], vote) for vote in ("up", "down"))
        for chosen, rejected in product(up, down):
            yield {
                "prompt": chosen["prompt"],
                "chosen": chosen["answer"],
                "rejected": rejected["answer"],
                "models": [chosen["model"], rejected["model"]],
            }


def _voted(rows: Sequence[dict[str, Any]], vote: str) -> list[dict[str, Any]]:
    """Those with this vote that say something: an empty answer is nothing to learn from."""
    return [row for row in rows if row["vote"] == vote and row["answer"].strip()]
