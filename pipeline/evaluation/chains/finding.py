"""Answers in what was said, by the rules of the published zero-shot chains (Kojima et al. 2022)."""

import re
from typing import Literal

Kind = Literal["number", "yes_no", "letter", "letters", "text"]
"""What an answer is: a number, yes or no, one of A to E, letters in a row, or the whole text."""

NUMBER = re.compile(r"-?\d+\.?\d*")
LETTER = re.compile(r"[A-E]")
MARKS = re.compile(r"[\"'\n.\s:,]")
NOT_LETTERS = re.compile(r"[\"'\n.\s]")


def find(text: str, kind: Kind, trigger: str = "") -> str:
    """The answer in a text; empty where there is none.

    Without `trigger` the first candidate counts. With one, as behind examples that end in it, the first
    behind its last place counts, or where it is not there the last of all.

    >>> find("It costs 1,250.", "number")
    '1250'
    >>> find("3 and 4 are 7. The answer is 7.", "number", "The answer is")
    '7'
    """
    first = True
    if trigger:
        first = trigger in text
        text = text.rpartition(trigger)[2]
    found = candidates(text, kind)
    answer = found[0 if first else -1] if found else ""
    return answer.removesuffix(".")


def candidates(text: str, kind: Kind) -> list[str]:
    """All that could be the answer, in order."""
    if kind == "number":
        return NUMBER.findall(text.replace(",", ""))
    if kind == "letter":
        return LETTER.findall(text)
    if kind == "yes_no":
        return [word for word in MARKS.sub(" ", text.lower()).split(" ") if word in ("yes", "no")]
    if kind == "letters":
        return [NOT_LETTERS.sub("", text)]
    return [text.strip()]
