"""The text of answers in pieces: no stop sequence is ever sent, nothing is lost, logs go with their text."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from launch.serving.answers import Answer, TokenLog, held
from pipeline.generation.continuous import Drawn

LETTERS = st.text("abc", max_size=12)


class Letters:
    """A text that grows by a letter for each id, as `Growing` has it; ids below 0 wait for the next one."""

    def __init__(self) -> None:
        self.waiting = ""

    def add(self, token: int) -> str:
        self.waiting += chr(abs(token))
        return "" if token < 0 else self.rest()

    def rest(self) -> str:
        told, self.waiting = self.waiting, ""
        return told


@given(LETTERS, st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_pieces_are_the_text_up_to_the_first_stop(text: str, stops: list[str], data: Any) -> None:
    growing: Any = Letters()
    answer = Answer(0, growing, stops)
    sent, logs, finish = "", list[TokenLog](), None
    tokens = [ord(letter) * data.draw(st.sampled_from([1, -1])) for letter in text]
    drawn = [Drawn(token, None, -float(place)) for place, token in enumerate(tokens)]
    drawn.append(Drawn(None, "stop"))
    while drawn and finish is None:
        count = data.draw(st.integers(1, len(drawn)))
        piece = answer.add(drawn[:count])
        drawn = drawn[count:]
        sent, logs, finish = sent + piece.text, [*logs, *piece.logs], piece.finish
        assert not any(stop in sent for stop in stops)
    assert finish == "stop"
    assert sent == text[: len(sent)]
    if all(token > 0 for token in tokens):  # letter by letter, the stop that is whole first is what ends it
        ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
        seen = text[: min(ends, default=len(text))]
        assert len(sent) == min((seen.find(stop) for stop in stops if stop in seen), default=len(text))
    elif not any(stop in text for stop in stops):
        assert sent == text
    assert [log.log for log in logs] == [-float(place) for place in range(len(logs))]
    assert all(log.offset < max(1, len(sent)) for log in logs)


@given(LETTERS, st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.integers(0, 12))
def test_what_is_held_is_the_longest_end_that_a_stop_may_begin_with(
    text: str, stops: list[str], sent: int
) -> None:
    sent = min(sent, len(text))
    most = held(text, stops, sent)
    ends = [start for start in range(sent, len(text)) if any(one.startswith(text[start:]) for one in stops)]
    ends = [start for start in ends if len(text) - start < max(map(len, stops))]
    assert most == min(ends, default=len(text))


def test_one_answer_that_is_longer_than_the_most_tokens() -> None:
    growing: Any = Letters()
    answer = Answer(3, growing)
    piece = answer.add([Drawn(97), Drawn(98, "length")])
    assert (piece.index, piece.text, piece.finish) == (3, "ab", "length")
    assert answer.tokens == 2
