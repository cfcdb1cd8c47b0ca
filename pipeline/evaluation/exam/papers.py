"""The exam's tasks, each a function from held-out text to rows of a question, its choices and the right one.

What is asked is in each function's docstring. A wrong choice differs from the right one in what is tested
alone, or is a word as frequent as the right one, so that counting words does not help.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from numpy.random import Generator

from pipeline.evaluation.exam.source import Sentence, Source

Row = dict[str, Any]

PAIRS = (
    ("is", "are"),
    ("was", "were"),
    ("has", "have"),
    ("does", "do"),
    ("this", "these"),
    ("that", "those"),
    ("a", "an"),
)
"""English words of which the text around decides."""
MARKS = ".,:;()'\"`=-"
LISTED = 8
"""Words of a list that is read twice."""
CHOICES = 4


def spelling(source: Source, random: Generator) -> Iterator[Row]:
    """Which spelling of the word is right? Two neighbouring letters inside it have changed places."""
    for one in shuffled(source.sentences, random):
        places = [at for at, word in enumerate(one.words) if at > 2 and re.fullmatch(r"[a-z]{5,}", word)]
        if places:
            at = int(random.choice(places))
            wrong = misspelt(one.words[at], random)
            if wrong:
                yield row(text(one, at), one.words[at], [wrong], random)


def punctuation(source: Source, random: Generator) -> Iterator[Row]:
    """Which mark stands here: what closes a bracket, ends a name, or goes before what follows?"""
    found: dict[tuple[str, str], list[Row]] = {}
    for one in shuffled(source.sentences, random):
        whole = f"{one.before}{' '.join(one.words)}"
        for at, mark in enumerate(whole):
            if mark in MARKS and at > len(whole) // 3:
                other = str(random.choice([one for one in MARKS if one != mark]))
                rest = whole[at + 1 : at + 12]
                made = row(whole[:at], mark + rest, [other + rest], random)
                found.setdefault((mark, other), []).append(made)
    yield from balanced(found)


def word_order(source: Source, random: Generator) -> Iterator[Row]:
    """In which order do the words end the sentence? The wrong one has the same words."""
    for one in shuffled(source.sentences, random):
        at = len(one.words) // 2
        rest = list(one.words[at:])
        moved = [rest[int(i)] for i in random.permutation(len(rest) - 1)] + rest[-1:]
        if moved != rest:
            yield row(text(one, at), " ".join(rest), [" ".join(moved)], random)


def agreement(source: Source, random: Generator) -> Iterator[Row]:
    """Which form agrees with the words around it: is or are, this or these, a or an?"""
    found: dict[tuple[str, str], list[Row]] = {}
    for one in shuffled(source.sentences, random):
        for at, word in enumerate(one.words):
            other = next((b if word == a else a for a, b in PAIRS if word in (a, b)), None)
            if other is not None and at > 0:
                rest = one.words[at + 1 : at + 3]
                right, wrong = (" ".join((form, *rest)) for form in (word, other))
                found.setdefault((word, other), []).append(row(text(one, at), right, [wrong], random))
    yield from balanced(found)


def last_word(source: Source, random: Generator) -> Iterator[Row]:
    """With which word does the sentence end? The others are as frequent."""
    for one in shuffled(source.sentences, random):
        word = ending(one)
        others = word and alike(source, word, random, without=(word,))
        if others:
            yield row(text(one, -1), word, others, random)


def recall(source: Source, random: Generator) -> Iterator[Row]:
    """Which word has been mentioned? The right one stands in the text before, the others do not."""
    for one in shuffled(source.sentences, random):
        word, before = ending(one), text(one, -1)
        if not word or len(word) < 5 or word not in re.findall(r"\w+", before):
            continue
        others = alike(source, word, random, without=(word, *re.findall(r"\w+", before)))
        if others:
            yield row(before, word, others, random)


def induction(source: Source, random: Generator) -> Iterator[Row]:
    """A list of words is read a second time: which comes next? The others are of the same list."""
    while len(source.common) >= 4 * LISTED:
        words = [source.common[int(i)] for i in random.choice(len(source.common), LISTED, replace=False)]
        at = int(random.integers(2, LISTED))
        others = [
            words[int(i)] for i in random.permutation(LISTED) if words[int(i)] not in words[at - 1 : at + 1]
        ]
        question = f"{' '.join(words)}. {' '.join(words[:at])}"
        yield row(question, words[at], others[: CHOICES - 1], random)


def continuation(source: Source, random: Generator) -> Iterator[Row]:
    """Which continuation belongs to this passage? The others are of other documents."""
    passages = list({one.answer: one for one in source.passages()}.values())
    if len(passages) < CHOICES:
        return
    for at in random.permutation(len(passages)):
        one = passages[int(at)]
        others = random.choice(len(passages) - 1, size=CHOICES - 1, replace=False)
        wrong = [passages[int(i) + (int(i) >= at)].answer for i in others]
        yield row(one.question, one.answer, wrong, random)


def balanced(found: dict[tuple[str, str], list[Row]]) -> Iterator[Row]:
    """Rows by their right and wrong choice, in turn, each pair as often the other way round.

    Who always takes the more frequent of two is half right.
    """
    pairs = sorted(pair for pair in found if pair < pair[::-1] and pair[::-1] in found)
    for turn in range(max((len(one) for one in found.values()), default=0)):
        for pair in pairs:
            both = [found[pair], found[pair[::-1]]]
            if all(len(one) > turn for one in both):
                yield from (one[turn] for one in both)


def row(question: str, right: str, wrong: Sequence[str], random: Generator) -> Row:
    """A row with the right choice at a drawn place."""
    choices = list(wrong)
    place = int(random.integers(len(choices) + 1))
    choices.insert(place, right)
    return {"question": question, "choices": choices, "answer": place}


def shuffled(sentences: Sequence[Sentence], random: Generator) -> Iterator[Sentence]:
    """Every sentence, in a drawn order."""
    return (sentences[int(i)] for i in random.permutation(len(sentences)))


def text(one: Sentence, at: int) -> str:
    """What stands before a word of a sentence."""
    return f"{one.before}{' '.join(one.words[:at])}"


def ending(one: Sentence) -> str:
    """A sentence's last word in small letters; empty where it ends otherwise."""
    found = re.fullmatch(r"([a-z]{3,})[.!?]", one.words[-1])
    return found[1] if found else ""


def alike(source: Source, word: str, random: Generator, without: Sequence[str]) -> list[str]:
    """Words that are about as frequent in train text as a word; none where there are too few."""
    places = {one: place for place, one in enumerate(source.common)}
    if word not in places:
        return []
    at, reach = places[word], 10
    near = [one for one in source.common[max(0, at - reach) : at + reach + 1] if one not in without]
    if len(near) < CHOICES - 1:
        return []
    return [str(one) for one in random.choice(near, CHOICES - 1, replace=False)]


def misspelt(word: str, random: Generator) -> str:
    """A word with two neighbouring letters inside changed; empty where all are the same."""
    places = [at for at in range(1, len(word) - 2) if word[at] != word[at + 1]]
    if not places:
        return ""
    at = int(random.choice(places))
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
