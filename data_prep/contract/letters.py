"""Places of letters in the alphabet, added: problems with all the ways to their answers, from rules alone.

    Q: Add c, k, f.
    A: The answer is zero.              3 + 11 + 6 = 20

The answer is the last digit of the sum, in words: ten answers, so a guess is right in about a tenth. No
letter comes twice. What a letter counts has to be known by heart, and so has a table of a hundred sums of two
digits; a longer sum shows nothing of its last digit before its last letter is in. Letters may be added in any
order, so there are as many chains of thought to one answer as there are orders.

A text holds problems in one of these forms, in the words of the prompts of `pipeline.evaluation.chains`:

    direct     The answer is zero.
    chain      k one. c three, four. f six, zero. The answer is zero.               in a random order
    zero_shot  Let's think step by step. k one. c three, four. f six, zero.         sometimes, in a new line,
               Therefore, the answer is zero.
    apart      To answer this question, we first need to know the answers to:       of least-to-most
               Add c, k.                                                            and in a longer one lines
               And f.                                                               with one letter more each
    in_turn    such questions, each answered from what was said last, and then the whole:
               Q: And f.
               A: four. f six, zero. The answer is zero.

Texts and problems are pure functions of a seed and a number. A tenth of all problems, by a hash of their
letters in whatever order, is held out: no text has one of these, and `problem` gives no other.
"""

import hashlib
import string
from typing import Literal

import numpy as np

Form = Literal["direct", "chain", "zero_shot", "apart", "in_turn"]
FORMS: dict[Form, int] = {"direct": 5, "chain": 3, "zero_shot": 2, "apart": 1, "in_turn": 1}
"""The problems in one text of each form. All forms have as many texts, so as many problems are answered at
once as by chains."""
LETTERS = string.ascii_lowercase
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STEP_BY_STEP = "Let's think step by step."
SUBQUESTIONS = "To answer this question, we first need to know the answers to:"
HELD_OUT = 10
"""One problem in so many is in no text."""
FEWEST_APART = 3
"""Letters of the shortest problem that is taken apart."""


def problem(seed: int, length: int, number: int) -> str:
    """Held-out problem `number` of so many letters."""
    return drawn(np.random.default_rng([seed, length, number]), length, held_out=True)


def drawn(random: np.random.Generator, length: int, held_out: bool) -> str:
    """The letters of a problem of one or the other part of all of them."""
    while True:
        found = "".join(LETTERS[place] for place in random.permutation(len(LETTERS))[:length])
        if is_held_out(found) == held_out:
            return found


def is_held_out(letters: str) -> bool:
    """Whether a problem, in whatever order, is in no text of training."""
    same = "".join(sorted(letters))
    return hashlib.blake2b(same.encode(), digest_size=8).digest()[0] % HELD_OUT == 0


def answer(letters: str) -> str:
    """The last digit of the sum of the letters' places, a being the first.

    >>> answer("ckf")
    'zero'
    """
    return DIGITS[sum(LETTERS.index(one) + 1 for one in letters) % 10]


def question(letters: str) -> str:
    """
    >>> question("ckf")
    'Add c, k, f.'
    """
    return f"Add {', '.join(letters)}."


def chain(letters: str) -> str:
    """The letters added one by one in the order in which they are given.

    >>> chain("kcf")
    'k one. c three, four. f six, zero.'
    """
    added = [f"{one} {answer(one)}, {answer(letters[: at + 1])}." for at, one in enumerate(letters)]
    return " ".join([f"{letters[0]} {answer(letters[0])}.", *added[1:]])


def easier(letters: str) -> list[str]:
    """The questions to answer before the whole: the first two letters, then each further one but the last.

    >>> easier("ckfm")
    ['Add c, k.', 'And f.']
    """
    return [question(letters[:2]), *(f"And {one}." for one in letters[2:-1])]


def in_turn(letters: str) -> str:
    """All of them answered, and the whole behind them."""
    said = [_solved(question(letters[:2]), chain(letters[:2]), answer(letters[:2]))]
    for at, one in enumerate(letters[2:], 2):
        asked = question(letters) if at == len(letters) - 1 else f"And {one}."
        before, after = answer(letters[:at]), answer(letters[: at + 1])
        said.append(_solved(asked, f"{before}. {one} {answer(one)}, {after}.", after))
    return "\n\n".join(said)


def text(seed: int, form: Form, number: int, fewest: int, most: int) -> str:
    """Text `number` of a form, of problems of `fewest` to `most` letters."""
    random = np.random.default_rng([seed, number, *form.encode()])
    fewest = max(fewest, FEWEST_APART) if form in ("apart", "in_turn") else fewest
    lengths = random.integers(fewest, most + 1, size=FORMS[form])
    found = [drawn(random, int(length), held_out=False) for length in lengths]
    return "\n\n".join(_said(form, one, random) for one in found) + "\n"


def _said(form: Form, letters: str, random: np.random.Generator) -> str:
    asked = question(letters)
    if form == "direct":
        return f"Q: {asked}\nA: The answer is {answer(letters)}."
    if form == "apart":
        return "\n".join([f"Q: {asked}\nA: {SUBQUESTIONS}", *easier(letters)])
    if form == "in_turn":
        return in_turn(letters)
    ways = chain("".join(letters[at] for at in random.permutation(len(letters))))
    if form == "chain":
        return _solved(asked, ways, answer(letters))
    asked_for = f"\nTherefore, the answer is {answer(letters)}." if random.random() < 0.5 else ""
    return f"Q: {asked}\nA: {STEP_BY_STEP} {ways}{asked_for}"


def _solved(asked: str, ways: str, right: str) -> str:
    return f"Q: {asked}\nA: {ways} The answer is {right}."
