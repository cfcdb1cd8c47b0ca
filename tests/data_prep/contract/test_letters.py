"""Problems of letters: every text is true, says what its form says, and holds none that is held out."""

import re

import pytest

from data_prep.contract.letters import (
    DIGITS,
    FORMS,
    LETTERS,
    SUBQUESTIONS,
    Form,
    answer,
    chain,
    easier,
    is_held_out,
    problem,
    question,
    text,
)
from pipeline.evaluation.chains import ways

TEXTS = 200


def last_digit(letters: str) -> str:
    return DIGITS[sum(ord(one) - ord("a") + 1 for one in letters) % 10]


def asked(block: str) -> str:
    """The letters that a block of a text asks for."""
    (found,) = re.findall(r"Q: (?:Add|And) (.*?)\.\n", block)
    return "".join(found.split(", "))


def follow(letters: str, said: str, before: str = "") -> str:
    """The letters of a chain in their order; each step has to be true."""
    done = ""
    for one, digit, so_far in re.findall(r"\b([a-z]) (\w+)(?:, (\w+))?\.", said):
        assert one in letters
        assert digit == last_digit(one)
        done += one
        if so_far:
            assert so_far == last_digit(before + done)
    return done


@pytest.mark.parametrize("form", FORMS)
def test_every_text_is_true(form: Form) -> None:
    orders = set()
    for number in range(TEXTS):
        whole = text(7, form, number, 2, 5)
        blocks = whole.removesuffix("\n").split("\n\n")
        if form == "in_turn":
            letters = asked(blocks[-1])
            assert [one.split("\n")[0].removeprefix("Q: ") for one in blocks] == [
                *easier(letters),
                question(letters),
            ]
            for at, block in enumerate(blocks):
                said = block.split("\nA: ")[1].partition(" The answer")[0]
                begun, new = letters[: at + 1 if at else 0], letters[at + 1 if at else 0 : at + 2]
                assert not at or said.startswith(f"{last_digit(begun)}. ")
                assert follow(new, said.removeprefix(f"{last_digit(begun)}. ") if at else said, begun) == new
                assert block.endswith(f"The answer is {last_digit(begun + new)}.")
            blocks = blocks[-1:]
        else:
            assert len(blocks) == FORMS[form]
        for block in blocks:
            letters = asked(block)
            assert 2 <= len(letters) == len({*letters}) <= 5
            assert not is_held_out(letters)
            if form == "apart":
                assert block.split("\n")[1:] == [f"A: {SUBQUESTIONS}", *easier(letters)]
            elif form in ("chain", "zero_shot"):
                order = follow(letters, block.split("\nA: ")[1].replace("Let's think step by step. ", ""))
                assert sorted(order) == sorted(letters)
                orders.add(order == letters)
            if form in ("direct", "chain"):
                assert block.endswith(f"The answer is {last_digit(letters)}.")
    assert len(orders) != 1, "chains are in several orders"


def test_texts_and_problems_are_functions_of_their_numbers() -> None:
    assert text(1, "chain", 5, 2, 5) == text(1, "chain", 5, 2, 5) != text(2, "chain", 5, 2, 5)
    found = [problem(3, 4, number) for number in range(100)]
    assert found == [problem(3, 4, number) for number in range(100)]
    assert all(is_held_out(one) and len({*one}) == 4 for one in found)
    assert is_held_out(found[0][::-1])
    pairs = [a + b for a in LETTERS for b in LETTERS if a < b]
    assert 0.05 < sum(map(is_held_out, pairs)) / len(pairs) < 0.15


def test_the_words_are_those_of_the_prompts() -> None:
    assert SUBQUESTIONS == ways.SUBQUESTIONS
    assert ways.STEP_BY_STEP == "Let's think step by step."
    assert (answer("ckf"), chain("kcf")) == ("zero", "k one. c three, four. f six, zero.")
