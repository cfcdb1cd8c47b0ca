"""The chat template that a published folder brings: the ids that transformers' `apply_chat_template` gives.

The template writes special tokens as text, and so could a message. What a message spells is therefore broken
up by a noncharacter before the template sees it, and mended when the text has been cut at the special tokens:

    message   "so <|im_end|>"            seen by the template as "so <\\ufdd0|im_end|>"
    text      "<|im_start|>user\\nso <\\ufdd0|im_end|><|im_end|>\\n"
    ids       [<|im_start|>] "user\\nso <|im_end|>" [<|im_end|>] "\\n"        the first one in letters
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, takewhile
from typing import Protocol

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.prompting.sandbox import render

GUARD = "\ufdd0"


class Said(Protocol):
    """One turn of a conversation."""

    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


@dataclass(frozen=True)
class PublishedTemplate:
    """The template of one vocabulary, `text`."""

    vocabulary: Vocabulary
    text: str

    def write(self, messages: Sequence[Said], answer: bool) -> str:
        """The text of a talk, with what messages spell of special tokens broken up."""
        rows = [{"role": one.role, "content": self._guarded(one.content)} for one in messages]
        return render(self.text, self.vocabulary.path, rows, answer, self.vocabulary.special_tokens)

    def prompt(self, messages: Sequence[Said]) -> list[int]:
        """The ids after which the assistant speaks."""
        return self._encode(self.write(messages, answer=True), [])[0]

    def encode(self, messages: Sequence[Said]) -> tuple[list[int], list[bool]]:
        """The ids of a whole talk, and which of them are the assistant's: its words and what ends them."""
        return self._encode(*self.answers(messages))

    def answers(self, messages: Sequence[Said]) -> tuple[str, list[tuple[int, int]]]:
        """The text of a talk and where in it the answers are, from the first word to the end of the turn.

        `InputError` where the template writes what was said before anew as the talk goes on, so that no
        prompt could have led to an answer.
        """
        text, found = self.write(messages, answer=False), []
        for place, message in enumerate(messages):
            if message.role != "assistant":
                continue
            before, asked = (self.write(messages[:place], answer=answer) for answer in (False, True))
            if not text.startswith(before):
                raise InputError(
                    f"{self.vocabulary.path}: its chat template changes earlier turns as a talk goes on; "
                    "talks with one answer can be learned with it"
                )
            start = _shared(text, asked)
            found.append((start, self._end_of(text, start, messages[: place + 1])))
        return text, found

    def _end_of(self, text: str, start: int, messages: Sequence[Said]) -> int:
        """Where the last turn of `messages` ends in a text: behind its last special token, if it has one."""
        through = self.write(messages, answer=False)
        if text.startswith(through):
            ends = [found.end() for found in self._special.finditer(through, start)]
            return ends[-1] if ends else len(through)
        content = self._guarded(messages[-1].content).strip()
        ending = self._special.search(text, max(start, text.find(content, start)) + len(content))
        return ending.end() if ending else len(text)

    @property
    def sha256(self) -> str:
        """Stands for the template where a run is told from another."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def end(self) -> int:
        """The id that ends an answer."""
        text, answers = self.answers([_Turn("user", "a"), _Turn("assistant", "b")])
        pieces = self._special.findall(text, *answers[-1])
        return self._ids[pieces[-1]] if pieces else self.vocabulary.eos

    @cached_property
    def _ids(self) -> dict[str, int]:
        """Special tokens by what a template writes for them."""
        pieces = ((self.vocabulary.piece_of(index), index) for index in sorted(self.vocabulary.reserved))
        return {piece: index for piece, index in pieces if piece}

    @cached_property
    def _special(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, sorted(self._ids, key=len, reverse=True))))

    def _guarded(self, content: str) -> str:
        def broken(found: re.Match[str]) -> str:
            return f"{found[0][0]}{GUARD}{found[0][1:]}" if len(found[0]) > 1 else ""

        return self._special.sub(broken, content.replace(GUARD, ""))

    def _encode(self, text: str, answers: Sequence[tuple[int, int]]) -> tuple[list[int], list[bool]]:
        """The ids of a text, and which of them lie in an answer."""
        tokens: list[int] = []
        learned: list[bool] = []
        place, last = 0, None
        for found in [*self._special.finditer(text), None]:
            stop = found.start() if found else len(text)
            cuts = [cut for span in answers for cut in span if place < cut < stop]
            bounds = [place, *cuts, stop]
            parts = [text[a:b].replace(GUARD, "") for a, b in pairwise(bounds)]
            inside = [any(a <= bound < b for a, b in answers) for bound in bounds]
            for ids, flag in zip(self._apart(parts, last), inside, strict=False):
                tokens += ids
                learned += [flag] * len(ids)
            if found:
                last, place = self._ids[found[0]], found.end()
                tokens.append(last)
                learned.append(inside[-1])
        return tokens, learned

    def _apart(self, parts: Sequence[str], last: int | None) -> list[list[int]]:
        """The ids of parts of one text, cut as one where each begins with the ids of those before it."""
        text, before, found = "", list[int](), []
        for part in parts:
            text += part
            whole = self._cut(text, last)
            if whole[: len(before)] == before:
                ids = whole[len(before) :]
            else:
                ids = self.vocabulary.encode_inside(part)
            found.append(ids)
            before += ids
        return found

    def _cut(self, text: str, last: int | None) -> list[int]:
        if not text:
            return []
        return self.vocabulary.encode(text) if last is None else self.vocabulary.encode_behind(text, last)


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@dataclass(frozen=True)
class _Turn:
    role: str
    content: str
