r"""Comparison files: JSON lines (or one JSON array) in, prompts with their answers and who beats whom out.

A row is one of these, other keys are ignored:

    {"prompt": "...", "chosen": "...", "rejected": "..."}       one pair; "share": 0.8 where raters disagreed
    {"prompt": "...", "answers": ["...", ...], "ranks": [1, 3, 2]}      K answers, the best has the least rank
    {"chosen": "\n\nHuman: ...\n\nAssistant: ...", "rejected": "..."}    whole dialogues (Bai et al. 2022);
    such
                                                                that part before their last turn are no pair

A prompt is what the user says, or a list of messages {role, content} that may begin with a system's and have
several turns. An answer is a string, or a list with one message of the assistant.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.cleaning import clean
from data_prep.contract.names import printable
from data_prep.contract.settings import InputError
from pipeline.prompting.chat import Message
from pipeline.tuning.instructions import Conversation, read_messages, read_rows

MOST_ANSWERS = 64
"""To one prompt: each is a row of the same batch."""
TURN = re.compile(r"\n\n(Human|Assistant):")
SPEAKERS = {"Human": "user", "Assistant": "assistant"}


@dataclass(frozen=True)
class Ranking:
    """Answers to a prompt.

    beats [K, K]  what the comparison "answer i is better than answer j" weighs; all of a prompt sum to 1, or
                  to 0 where no answer is better than another; K is 0 where the row compares nothing
    """

    prompt: Conversation
    answers: tuple[str, ...]
    beats: NDArray[np.float32]


def read_rankings(path: Path) -> Iterator[Ranking]:
    """Every row of a file, in order. `InputError` names the line of one that is of none of these shapes."""
    for where, row in read_rows(path, "comparisons"):
        yield ranking_of(row, where)


def ranking_of(row: Any, where: str) -> Ranking:
    """The answers of one row."""
    if isinstance(row, dict) and {"prompt", "answers", "ranks"} <= row.keys():
        prompt = prompt_of(row["prompt"], where)
        return Ranking(prompt, *_ranked(row["answers"], row["ranks"], where))
    if isinstance(row, dict) and {"chosen", "rejected"} <= row.keys():
        if "prompt" in row:
            prompt = prompt_of(row["prompt"], where)
            answers = tuple(answer_of(row[key], f"{where}: {key}") for key in ("chosen", "rejected"))
        else:
            prompt, answers = _dialogues(row["chosen"], row["rejected"], where)
            if not answers:
                return Ranking(prompt, answers, np.zeros((0, 0), np.float32))
        return Ranking(prompt, answers, pair(_share(row.get("share", 1.0), where), answers))
    found = printable(", ".join(map(str, row))[:200]) if isinstance(row, dict) else f"a {type(row).__name__}"
    raise InputError(
        f"{where}: a row needs chosen and rejected, with a prompt or as whole dialogues, or prompt, answers "
        f"and ranks; this one has {found}"
    )


def prompt_of(given: Any, where: str) -> Conversation:
    """The messages before an answer; a string is what the user says."""
    if isinstance(given, str):
        return (Message("user", clean(given)),)
    messages = read_messages(given, f"{where}: prompt")
    if messages[-1].role == "assistant":
        raise InputError(f"{where}: the prompt ends with the assistant, so there is nothing to answer")
    return messages


def answer_of(given: Any, where: str) -> str:
    """What the assistant says."""
    if isinstance(given, str):
        return clean(given)
    messages = read_messages(given, where)
    if len(messages) != 1 or messages[0].role != "assistant":
        raise InputError(f"{where} must be a string or one message of the assistant")
    return messages[0].content


def _share(given: Any, where: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
        raise InputError(f"{where}: share is {given!r}; a number from 0 to 1 is expected")
    return float(given)


def pair(share: float, answers: Sequence[str]) -> NDArray[np.float32]:
    """[2, 2] for the share of raters who preferred the first; nothing where both say the same.

    >>> pair(0.75, ("a", "b")).tolist()
    [[0.0, 0.75], [0.25, 0.0]]
    """
    first, second = answers
    if first == second:
        return np.zeros((2, 2), np.float32)
    return np.array([[0.0, share], [1.0 - share, 0.0]], np.float32)


def from_ranks(ranks: Sequence[float]) -> NDArray[np.float32]:
    """[K, K]: each pair with different ranks weighs the same, 1 / C(K, 2) where there are no ties.

    >>> from_ranks([1, 2, 2]).tolist()
    [[0.0, 0.5, 0.5], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    places = np.asarray(ranks, np.float64)
    beats = (places[:, None] < places[None, :]).astype(np.float32)
    return beats / max(1.0, float(beats.sum()))


def _ranked(answers: Any, ranks: Any, where: str) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    if not isinstance(answers, list) or not isinstance(ranks, list) or len(answers) != len(ranks):
        raise InputError(f"{where}: answers and ranks must be lists of one length")
    if not 2 <= len(answers) <= MOST_ANSWERS:
        raise InputError(f"{where}: {len(answers)} answers; 2 to {MOST_ANSWERS} can be compared")
    if any(isinstance(rank, bool) or not isinstance(rank, int | float) for rank in ranks):
        raise InputError(f"{where}: ranks must be numbers, the least for the best answer")
    return tuple(answer_of(one, f"{where}: an answer") for one in answers), from_ranks(ranks)


def _dialogues(chosen: Any, rejected: Any, where: str) -> tuple[Conversation, tuple[str, ...]]:
    """What two whole conversations have in common and how each ends; no answers where they part before that.

    Published collections have a few such rows, which ask different things.
    """
    both = [
        _dialogue(given, f"{where}: {key}") for key, given in (("chosen", chosen), ("rejected", rejected))
    ]
    (prompt, other) = (one[:-1] for one in both)
    return prompt, tuple(one[-1].content for one in both) if prompt and prompt == other else ()


def _dialogue(given: Any, where: str) -> Conversation:
    if not isinstance(given, str):
        messages = read_messages(given, where)
    else:
        before, *parts = TURN.split(clean(given))
        if before.strip() or not parts:
            raise InputError(f'{where}: without a prompt a dialogue of "\\n\\nHuman:" turns is expected')
        turns = zip(parts[::2], parts[1::2], strict=True)
        messages = tuple(Message(SPEAKERS[who], text.strip()) for who, text in turns)  # type: ignore[arg-type]
    if messages[-1].role != "assistant":
        raise InputError(f"{where}: the last to speak must be the assistant")
    return messages
