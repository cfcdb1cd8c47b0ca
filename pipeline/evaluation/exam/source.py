"""What an exam is made of: sentences of held-out documents with what is before them, and word counts."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from data_prep.contract.dataset import Dataset
from pipeline.tuning.instructions import dataset_pairs

SENTENCE = re.compile(r"[A-Z][^\n.!?:;]{20,200}[.!?](?=\s|$)")
"""A line's part that begins with a capital and ends with a stop, with no other stop in it."""
WORD = re.compile(r"[a-z]{2,}")
BEFORE = 120
"""Characters of a document that may stand before a sentence."""
HELD_OUT, TRAIN = 1_000_000, 1_000_000
"""Tokens of held-out text, and of the train text that words are counted in, at most."""
PASSAGE, CONTINUATION = 48, 16
"""Tokens of a passage and of each continuation."""


@dataclass(frozen=True)
class Sentence:
    """A sentence of held-out text."""

    before: str
    """What stands before it in its document, from the beginning of a word."""
    words: tuple[str, ...]


@dataclass(frozen=True)
class Example:
    """A question and its right answer."""

    question: str
    answer: str


class Source:
    """Held-out text of a dataset, in its parts."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @cached_property
    def sentences(self) -> list[Sentence]:
        """Every sentence of prose once."""
        found: dict[str, Sentence] = {}
        for text in _texts(self.dataset, "validation", HELD_OUT):
            for match in SENTENCE.finditer(text):
                words = tuple(match[0].split())
                if is_prose(words):
                    before = text[max(0, match.start() - BEFORE) : match.start()]
                    found.setdefault(match[0], Sentence(before.partition(" ")[2], words))
        return list(found.values())

    @cached_property
    def counts(self) -> "Counter[str]":
        """How often each word in lower case is in train text."""
        return Counter(word for text in _texts(self.dataset, "train", TRAIN) for word in WORD.findall(text))

    @cached_property
    def common(self) -> list[str]:
        """Words of four letters and more, the most frequent first, that are seen ten times or more."""
        return [word for word, count in self.counts.most_common(2000) if count >= 10 and len(word) >= 4]

    def pairs(self, split: str) -> list[Example]:
        """Instruction pairs of one question and answer."""
        return [
            Example(one[0].content, one[1].content.strip())
            for one in dataset_pairs(self.dataset, split)
            if len(one) == 2 and one[1].content.strip()
        ]

    def passages(self) -> list[Example]:
        """The first tokens of held-out documents that are long enough, and the tokens that follow."""
        decode = self.dataset.vocabulary.decode
        return [
            Example(decode(ids[:PASSAGE]), decode(ids[PASSAGE : PASSAGE + CONTINUATION]))
            for ids in _documents(self.dataset, "validation", HELD_OUT)
            if len(ids) >= PASSAGE + CONTINUATION
        ]


def is_prose(words: tuple[str, ...]) -> bool:
    """Whether most words are of letters alone, and there are six to thirty.

    >>> is_prose(tuple("Return the sum of the two numbers.".split()))
    True
    >>> is_prose(tuple("Foo(x=1) + bar[2] == baz.qux but why.".split()))
    False
    """
    plain = sum(bool(re.fullmatch(r"[A-Za-z]+[.,!?]?", word)) for word in words)
    return 6 <= len(words) <= 30 and plain >= 0.85 * len(words)


def _documents(dataset: Dataset, split: str, most: int) -> Iterator[list[Any]]:
    seen = 0
    for block in dataset.blocks(split):
        for document in block.documents():
            yield document.tolist()
        seen += len(block.tokens)
        if seen >= most:
            return


def _texts(dataset: Dataset, split: str, most: int) -> Iterator[str]:
    return (dataset.vocabulary.decode(ids) for ids in _documents(dataset, split, most))
