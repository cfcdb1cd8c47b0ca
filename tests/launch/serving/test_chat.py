"""`bloomery chat`: a script of lines to a model, with answers that are those of `bloomery generate`."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from launch.chat import Talk, converse
from launch.serving.served import Served
from pipeline.generation.sampling import Sampling
from pipeline.tuning.instructions import read_conversations
from tests.launch.serving.made import double, said

SAMPLING = Sampling(0.9, 0, 0.95, 3)
TEXT = "returns the sum"


@pytest.fixture(scope="module", params=["gpt2", "t5"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Served:
    made = double(tmp_path_factory.mktemp(request.param) / "run", request.param)
    return replace(made, tuned=True)


def scripted(talk: Talk, *lines: str) -> str:
    """What a console shows of a conversation of these lines."""
    console, left = Console(file=io.StringIO(), width=80), iter(lines)
    converse(talk, console, lambda: next(left, None))
    shown: Any = console.file
    return str(shown.getvalue())


def test_answers_are_those_of_generate_and_again_asks_for_the_next_one(served: Served) -> None:
    talk = Talk(served, SAMPLING, 15)
    scripted(talk, TEXT)
    answers = [talk.messages[-1].content]
    for _ in range(2):
        scripted(talk, "/again")
        answers.append(talk.messages[-1].content)
    assert answers == [said(served, TEXT, 15, SAMPLING, True, before) for before in range(3)]
    assert len(talk.messages) == 2
    scripted(talk, "/set temperature 0", "/again", "/set tokens 4", "/set seed 5", "/set top_k 2")
    assert talk.messages[-1].content == said(served, TEXT, 15, Sampling(0.0), True)
    assert (talk.sampling, talk.tokens) == (Sampling(0.0, 2, 0.95, 5), 4)


def test_a_conversation_is_saved_as_instructions_are(served: Served, tmp_path: Path) -> None:
    talk, file = Talk(served, SAMPLING, 5, "reads"), tmp_path / "talk.jsonl"
    shown = scripted(talk, f"/save {file}", "", "  ", TEXT, f"/save {file}", "/quit", "never said")
    assert "nothing has been said yet" in shown
    assert json.loads(file.read_text()) == talk.row()
    if talk.messages[-1].content.strip():
        [conversation] = read_conversations(file)
        assert [one.role for one in conversation] == ["system", "user", "assistant"]
    scripted(talk, "/system", "/new")
    assert talk.conversation == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["/again"], "nothing has been said yet"),
        (["/undo"], "nothing has been said yet"),
        (["/nonsense"], "/nonsense is no command; /help lists them"),
        (["/set heat 1"], "heat: there are temperature"),
        (["/set temperature hot"], "temperature is hot; a number from"),
        (["/set top_p 0"], "top_p is 0"),
        (["/save"], "/save needs the name of a file"),
        (["/help"], "/system TEXT"),
        (["a file of the list " * 90], "more than 24 tokens"),
        (["a \x1b[2J file of " * 9], "the model reads at most 24"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(served: Served, lines: list[str], words: str) -> None:
    talk = Talk(served, SAMPLING, 5)
    shown = scripted(talk, *lines)
    assert words in " ".join(shown.split())
    assert "\x1b" not in shown
    assert talk.messages == []


def test_what_a_model_says_cannot_move_a_terminal_s_cursor(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hostile(*_: object) -> Iterator[str]:
        yield "[red]a \x1b]0;owned\x07 \u202egnp"

    talk = Talk(served, SAMPLING, 5)
    monkeypatch.setattr(talk, "say", hostile)
    shown = scripted(talk, TEXT)
    assert "[red]a" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_ctrl_c_stops_an_answer_and_keeps_what_there_is(served: Served) -> None:
    talk = Talk(served, SAMPLING, 50)
    parts = talk.say(TEXT)
    first = next(parts)
    parts.close()
    assert talk.messages[-1].content == first
    assert scripted(talk, "/undo").startswith("taken back: returns")
