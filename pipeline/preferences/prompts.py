"""Prompts to learn on: JSON lines (or one JSON array) in, prompts as ids out, in an endless order.

A row is {"prompt": "..."} or a row of instructions or of comparisons, of which the prompt counts; what else
it holds, such as the right `answer`, is for rules to read.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.preferences.rankings import prompt_of, ranking_of
from pipeline.prompting.chat import ChatTemplate, Message
from pipeline.tuning.instructions import Conversation, read_rows, user_message
from pipeline.tuning.order import shuffled

HELD_OUT = 0.1
"""Share of the prompts that validates where there are no validation files."""


@dataclass(frozen=True)
class Prompt:
    messages: Conversation
    tokens: tuple[int, ...]
    row: dict[str, Any]
    """The whole row of its file."""


class Prompts:
    """The prompts of a training, and those held out. `counts` tells what became of the rows.

    `InputError` for rows of a wrong shape and where nothing is left.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        train_files: Sequence[Path],
        validation_files: Sequence[Path],
        longest: int,
        held_out: int,
        seed: int,
    ) -> None:
        """`longest` is most ids of a prompt, `held_out` most prompts that validate."""
        self.seed, self.longest = seed, longest
        self.counts: Counter[str] = Counter()
        self._template = ChatTemplate(vocabulary)
        self.train, self.validation = self._read(train_files), self._read(validation_files)
        if not validation_files:
            count = min(max(1, round(HELD_OUT * len(self.train))), held_out, len(self.train) - 1)
            apart = {int(i) for i in shuffled(seed, len(self.train), "held out")[: max(0, count)]}
            self.validation = [one for index, one in enumerate(self.train) if index in apart]
            self.train = [one for index, one in enumerate(self.train) if index not in apart]
        self.validation = self.validation[:held_out]
        if not self.train or not self.validation:
            names = ", ".join(str(path) for path in [*train_files, *validation_files])
            raise InputError(
                f"{names}: {len(self.train)} prompts left to train on and {len(self.validation)} to validate "
                f"on ({dict(self.counts)}); each needs one of at most {longest} tokens"
            )
        self._order = lru_cache(maxsize=2)(lambda epoch: shuffled(seed, len(self.train), "train", epoch))

    def at(self, start: int, count: int) -> list[Prompt]:
        """So many prompts of the endless order, from a place in it."""
        places = (divmod(place, len(self.train)) for place in range(start, start + count))
        return [self.train[int(self._order(epoch)[place])] for epoch, place in places]

    def _read(self, files: Sequence[Path]) -> list[Prompt]:
        found = []
        for where, row in (one for path in files for one in read_rows(path, "prompts")):
            messages = messages_of(row, where)
            tokens = self._template.prompt(messages)
            self.counts["rows"] += 1
            if len(tokens) > self.longest:
                self.counts["skipped_long"] += 1
            else:
                found.append(Prompt(messages, tuple(tokens), row))
        return found


def messages_of(row: Any, where: str) -> Conversation:
    """The prompt of a row."""
    if not isinstance(row, dict):
        raise InputError(
            f"{where}: a row must be an object with a prompt; this one is a {type(row).__name__}"
        )
    if "prompt" in row:
        return prompt_of(row["prompt"], where)
    if isinstance(row.get("instruction"), str):
        given = row.get("input") or ""
        if isinstance(given, str):
            return (Message("user", user_message(row["instruction"], given)),)
    if {"chosen", "rejected"} <= row.keys():
        return ranking_of(row, where).prompt
    raise InputError(f"{where}: a row needs a prompt, an instruction, or chosen and rejected dialogues")
