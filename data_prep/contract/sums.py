"""Sums of named digits, in words: problems with all the ways to their answers, from rules alone.

    Q: Add Ann three, Bob seven, Cid eight.
    A: The answer is eight.

The answer is the last digit of the sum: ten answers, equally frequent, so a guess is right in a tenth. A
problem has terms, each a name with a digit, no name twice. Adding two digits is a table of a hundred entries;
the last digit of a longer sum shows nothing before its last term is in, and terms may be added in any order,
so there are as many chains of thought to one answer as there are orders.

A text holds problems in one of these forms, in the words of the prompts of `pipeline.evaluation.chains`:

    direct     Q: Add Ann three, Bob seven.\\nA: The answer is zero.
    chain      ...\\nA: Bob seven. Ann three, zero. The answer is zero.                 in a random order
    zero_shot  ...\\nA: Let's think step by step. Bob seven. Ann three, zero.           perhaps asked for:
               Therefore, the answer is zero.
    apart      ...\\nA: To answer this question, we first need to know the answers to:  of least-to-most
               Add Ann three, Bob seven.\\nAnd Cid eight.
    in_turn    Q: Add Ann three, Bob seven.\\nA: Ann three. Bob seven, zero. The answer is zero.
               Q: And Cid eight.\\nA: zero. Cid eight, eight. The answer is eight.      ... the whole last

Texts and problems are pure functions of a seed and a number. A tenth of all problems, by a hash of their
terms in whatever order, is held out: no text has one of these, and `problem` gives no other.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

Form = Literal["direct", "chain", "zero_shot", "apart", "in_turn"]
FORMS: dict[Form, int] = {"direct": 5, "chain": 3, "zero_shot": 2, "apart": 1, "in_turn": 1}
"""The problems in one text of each form. All forms have as many texts, so as many problems are answered at
once as by chains that a model is later asked for."""
NAMES = (
    *("Ann", "Bob", "Cid", "Dan", "Eve", "Fay", "Gus", "Hal", "Ida", "Jim", "Kay", "Lou", "Max", "Ned"),
    *("Oli", "Pam", "Quin", "Ron", "Sue", "Tom", "Uma", "Vic", "Wes", "Xia", "Yan", "Zoe"),
)
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STEP_BY_STEP = "Let's think step by step."
SUBQUESTIONS = "To answer this question, we first need to know the answers to:"
HELD_OUT = 10
"""One problem in so many is in no text."""
FEWEST_APART = 4
"""Terms of the shortest problem that is taken apart."""


class Term(NamedTuple):
    """A name and its digit."""

    name: str
    digit: int

    def __str__(self) -> str:
        return f"{self.name} {DIGITS[self.digit]}"


Terms = tuple[Term, ...]


def problem(seed: int, length: int, number: int) -> Terms:
    """Held-out problem `number` of so many terms."""
    return drawn(np.random.default_rng([seed, length, number]), length, held_out=True)


def drawn(random: np.random.Generator, length: int, held_out: bool) -> Terms:
    """A problem of one or the other part of all of them."""
    while True:
        names, digits = random.permutation(len(NAMES)), random.integers(10, size=length)
        found = tuple(Term(NAMES[name], int(digit)) for name, digit in zip(names, digits, strict=False))
        if is_held_out(found) == held_out:
            return found


def is_held_out(terms: Terms) -> bool:
    """Whether a problem, in whatever order, is in no text of training."""
    said = " ".join(sorted(map(str, terms)))
    return hashlib.blake2b(said.encode(), digest_size=8).digest()[0] % HELD_OUT == 0


def answer(terms: Sequence[Term]) -> str:
    """The last digit of the sum."""
    return DIGITS[sum(one.digit for one in terms) % 10]


def question(terms: Sequence[Term]) -> str:
    """
    >>> question([Term("Ann", 3), Term("Bob", 7)])
    'Add Ann three, Bob seven.'
    """
    return f"Add {', '.join(map(str, terms))}."


def chain(terms: Sequence[Term]) -> str:
    """The terms added one by one in the order in which they are given.

    >>> chain([Term("Ann", 3), Term("Bob", 7), Term("Cid", 8)])
    'Ann three. Bob seven, zero. Cid eight, eight.'
    """
    added = [f"{terms[at]}, {answer(terms[: at + 1])}." for at in range(1, len(terms))]
    return " ".join([f"{terms[0]}.", *added])


def easier(terms: Sequence[Term]) -> list[str]:
    """The questions to answer before the whole: the first two terms, then each further one but the last.

    >>> easier([Term("Ann", 3), Term("Bob", 7), Term("Cid", 8), Term("Dan", 1)])
    ['Add Ann three, Bob seven.', 'And Cid eight.']
    """
    return [question(terms[:2]), *(f"And {one}." for one in terms[2:-1])]


def in_turn(terms: Sequence[Term]) -> str:
    """All of them answered, and the whole behind them."""
    said = [_solved(easier(terms)[0], chain(terms[:2]), answer(terms[:2]))]
    for at in range(2, len(terms)):
        asked = question(terms) if at == len(terms) - 1 else f"And {terms[at]}."
        so_far = answer(terms[: at + 1])
        said.append(_solved(asked, f"{answer(terms[:at])}. {terms[at]}, {so_far}.", so_far))
    return "\n\n".join(said)


def text(seed: int, form: Form, number: int, fewest: int, most: int) -> str:
    """Text `number` of a form, of problems of `fewest` to `most` terms."""
    random = np.random.default_rng([seed, number, *form.encode()])
    fewest = max(fewest, FEWEST_APART) if form in ("apart", "in_turn") else fewest
    lengths = random.integers(fewest, most + 1, size=FORMS[form])
    found = [drawn(random, int(length), held_out=False) for length in lengths]
    return "\n\n".join(_said(form, one, random) for one in found) + "\n"


def _said(form: Form, terms: Terms, random: np.random.Generator) -> str:
    asked = question(terms)
    if form == "direct":
        return f"Q: {asked}\nA: The answer is {answer(terms)}."
    if form == "apart":
        return "\n".join([f"Q: {asked}\nA: {SUBQUESTIONS}", *easier(terms)])
    if form == "in_turn":
        return in_turn(terms)
    ways = chain([terms[at] for at in random.permutation(len(terms))])
    if form == "chain":
        return _solved(asked, ways, answer(terms))
    asked_for = f"\nTherefore, the answer is {answer(terms)}." if random.random() < 0.5 else ""
    return f"Q: {asked}\nA: {STEP_BY_STEP} {ways}{asked_for}"


def _solved(asked: str, ways: str, right: str) -> str:
    return f"Q: {asked}\nA: {ways} The answer is {right}."
