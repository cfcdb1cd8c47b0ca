"""Breaches, questions, lessons, labels and audits: pure functions with literal examples."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from pipeline.config import ConstitutionConfig, PrincipleConfig
from pipeline.preferences.constitution import breaches as module
from pipeline.preferences.constitution import feedback
from pipeline.preferences.constitution.audit import ANY, audit, fall, shares
from pipeline.preferences.constitution.breaches import Breach, breach_called, breaches
from pipeline.preferences.constitution.feedback import Label, Pair, chosen, labels, separate_labels
from pipeline.preferences.constitution.lessons import lessons
from pipeline.preferences.constitution.questions import as_text, comparison, critique, revision
from pipeline.prompting.chat import ChatTemplate, Message
from tests.pipeline import tiny

ASKED = (Message("user", "What does it do?"),)
COMMAND = PrincipleConfig(name="command", text="Command.", breach="third_person")
OTHER = "Open a file for reading with the encoding that the caller has asked for."


class Shouting(Breach):
    """One as others would write it."""

    name = "shouting"

    def broken(self, text: str) -> bool:
        return text.isupper()

    def make(self, text: str, other: str, draws: np.random.Generator) -> str | None:
        return text.upper()


SHOUTING = Shouting()


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(module.VARIABLE, f"{__name__}:SHOUTING")
    breaches.cache_clear()
    yield
    breaches.cache_clear()


@pytest.mark.parametrize(
    ("name", "kept", "broken"),
    [
        ("third_person", "Return the sum.", "Returns the sum."),
        ("third_person", "Pass a message on.", "Passes a message on."),
        ("third_person", "Focus the window.", "Does nothing."),
        ("repetition", "Return the sum of the list.", "Return the list of the List."),
        ("long_winded", "Return the sum.", "Return the sum of all that there is in a list of whole numbers."),
        ("long_winded", "Close it.", ""),
        ("third_person", "This function adds.", "12."),
        ("repetition", "Go.", "..."),
    ],
)
def test_breaches_are_found_in_texts_alone(name: str, kept: str, broken: str) -> None:
    breach = breach_called(name, "here")
    assert not breach.broken(kept)
    assert breach.broken(broken)


@pytest.mark.parametrize("name", ["third_person", "repetition", "long_winded"])
def test_a_text_that_is_made_to_break_a_principle_does(name: str) -> None:
    breach, draws = breach_called(name, "here"), np.random.default_rng(0)
    made = breach.make("Return a list of names sorted by length.", OTHER, draws)
    assert made is not None
    assert breach.broken(made)


def test_what_cannot_be_made_to_break_a_principle_is_left_out() -> None:
    draws = np.random.default_rng(0)
    assert breach_called("third_person", "here").make("Whether there is one.", OTHER, draws) is None
    assert breach_called("repetition", "here").make("Go on.", OTHER, draws) is None


@pytest.mark.usefixtures("outside")
def test_breaches_come_from_outside() -> None:
    assert breach_called("shouting", "here").broken("NO")


def test_an_unknown_breach_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"constitution: no breach is called x; there is third_person"):
        breach_called("x", "constitution")


def test_what_is_filled_in_is_not_a_template() -> None:
    """An answer with braces in it changes nothing, and neither does a principle."""
    constitution = ConstitutionConfig(
        critique="{prompt} | {answer} | {principle}", revision="Again: {principle}"
    )
    principle = PrincipleConfig(name="p", text="Say {answer}.")
    asked = critique(constitution, principle, ASKED, "{prompt}")
    assert [one.content for one in asked] == ["What does it do? | {prompt} | Say {answer}."]
    whole = revision(constitution, principle, asked, "No.")
    assert [one.role for one in whole] == ["user", "assistant", "user"]
    assert whole[-1].content == "Again: Say {answer}."


def test_a_conversation_is_told_with_its_roles() -> None:
    talk = (Message("system", "Be kind."), Message("user", "Hi."))
    assert as_text(talk) == "System: Be kind.\nUser: Hi."


def test_lessons_are_of_answers_that_keep_to_a_principle() -> None:
    """Each that can be made to break it is criticised once, revised to itself, and compared twice."""
    constitution = ConstitutionConfig(principles=(COMMAND,))
    answers = ["Return the sum.", "Get a list.", "Returns a list.", "Whether there is one."]
    pairs = [(ASKED, answer) for answer in answers]
    rows = list(lessons(constitution, [(COMMAND, breach_called("third_person", "x"))], pairs, 2, 0))
    talks = [[one["content"] for one in row["messages"]] for row in rows]
    critiques = [talk for talk in talks if len(talk) == 4]
    assert [talk[-1] for talk in critiques] == ["Return the sum.", "Get a list."]
    for talk, broken in zip(critiques, ("Returns the sum.", "Gets a list."), strict=True):
        assert (talk[1] == constitution.broken) == (broken in talk[0])
    chosen_ones = [talk for talk in talks if len(talk) == 2]
    assert len(chosen_ones) == 8
    for asked, said in chosen_ones:
        better = asked.split(f"{said} ")[1].split("\n")[0]
        assert better in ("Return the sum.", "Get a list.")
    assert rows == list(
        lessons(constitution, [(COMMAND, breach_called("third_person", "x"))], pairs, 2, 0)
    ), "the same seed makes the same lessons"


def test_a_label_is_the_mean_of_both_orders(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A critic that says (A) whatever it reads prefers nothing; choices of several tokens are summed."""
    vocabulary = tiny.vocabulary(tmp_path / "tokenizer.model", texts=["(A) (B) Return the sum."] * 50)
    constitution = ConstitutionConfig(principles=(COMMAND,), comparison="{first}\n{second}")

    class Critic:
        config = tiny.config(model={"layers": 1, "hidden_size": 8, "heads": 1})

    Critic.vocabulary = vocabulary  # type: ignore[attr-defined]

    def said(model: Any, items: Sequence[Any]) -> list[float]:
        first = vocabulary.encode(constitution.choices[0])
        return [-1.0 if item.answer == first else -4.0 for item in items]

    monkeypatch.setattr(feedback, "log_likelihoods", said)
    [label] = labels(Critic(), constitution, [Pair(ASKED, "one", "two", COMMAND)])  # type: ignore[arg-type]
    assert label.forward == pytest.approx(1 / (1 + np.exp(-3)))
    assert label.share == pytest.approx(0.5)
    asked = comparison(constitution, COMMAND, ASKED, "two", "one")
    assert asked[0].content == "two\none"


def test_a_label_of_each_answer_alone_is_by_the_difference_of_log_odds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Log-odds 3 and -1 of keeping to the principle: sigmoid(4), whatever comes first."""
    vocabulary = tiny.vocabulary(tmp_path / "tokenizer.model", texts=["one two yes no the sum."] * 50)
    constitution = ConstitutionConfig(
        principles=(COMMAND,), critique="{answer}", kept="the sum", broken="two"
    )

    class Critic:
        config = tiny.config(model={"layers": 1, "hidden_size": 8, "heads": 1})

    Critic.vocabulary = vocabulary  # type: ignore[attr-defined]
    template = ChatTemplate(vocabulary)
    good = template.prompt([Message("user", "one")])

    def said(model: Any, items: Sequence[Any]) -> list[float]:
        kept = vocabulary.encode("the sum")
        odds = [3.0 if item.context == good else -1.0 for item in items]
        return [one - 5.0 if item.answer == kept else -5.0 for one, item in zip(odds, items, strict=True)]

    monkeypatch.setattr(feedback, "log_likelihoods", said)
    pairs = [Pair(ASKED, "one", "two", COMMAND), Pair(ASKED, "two", "one", COMMAND)]
    first, second = separate_labels(Critic(), constitution, pairs)  # type: ignore[arg-type]
    assert first.share == pytest.approx(1 / (1 + np.exp(-4)))
    assert second.share == pytest.approx(1 - first.share)


def test_labels_are_a_softmax_without_overflow() -> None:
    assert chosen(-2000.0, 0.0) == pytest.approx(0.0)
    assert chosen(0.0, -2000.0) == pytest.approx(1.0)
    assert Label(0.9, 0.5).share == pytest.approx(0.7)


def test_an_audit_counts_prompts_and_compares_the_same_ones() -> None:
    rules = [("command", breach_called("third_person", "x")), ("short", breach_called("long_winded", "x"))]
    before = audit(rules, ["Returns it.", "Gets it.", "Return it.", ""], [True, True, True, False], each=2)
    assert before.broken["command"].tolist() == [1.0, 0.5]
    assert before.broken["short"].tolist() == [0.0, 0.5]
    assert before.broken[ANY].tolist() == [1.0, 0.5]
    assert before.ended == 0.75
    after = audit(rules, ["Return it."] * 4, [True] * 4, each=2)
    assert shares(after)[ANY][0] == 0
    mean, low, high = fall(after, before)[ANY]
    assert mean == pytest.approx(0.75)
    assert low == pytest.approx(0.75 - 1.959964 * np.std([1, 0.5], ddof=1) / np.sqrt(2))
    assert high > mean
