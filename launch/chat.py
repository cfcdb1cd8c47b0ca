"""`bloomery chat`: a conversation with a model in a terminal; lines of a pipe are messages, too.

    you > What does this function do?
    It adds two numbers.
    you > /again

A line that ends with a backslash goes on in the next one. Ctrl-C stops an answer, which stays as it is;
Ctrl-D or /quit ends the conversation. What a model says may hold anything, so nothing of it reaches the
terminal that moves its cursor or turns its letters around.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from data_prep.contract.cleaning import clean
from data_prep.contract.names import printable
from data_prep.contract.receipt import write_atomic
from data_prep.contract.settings import InputError
from launch.serving.served import Served
from pipeline.generation.continuous import Request, RunningBatch
from pipeline.generation.sampling import Sampling
from pipeline.prompting.chat import Message

HELP = """/again          another answer to the last message
/undo           take the last message and its answer back
/new            begin anew
/system TEXT    what is said before the conversation; without a text nothing is
/set KEY VALUE  temperature, top_k, top_p, seed or tokens; without both, what they are
/save FILE      the conversation as a row of JSON that `instruct` reads
/quit           or Ctrl-D"""


@dataclass
class Talk:
    """A conversation and how it is answered. A model that was not tuned goes on with each text by itself."""

    served: Served
    sampling: Sampling
    tokens: int
    """Most ids of an answer."""
    system: str = ""
    messages: list[Message] = field(default_factory=list)
    _again: int = 0
    """How many answers to the last message there were before."""

    @property
    def conversation(self) -> list[Message]:
        """All that was said, with the system's words before it."""
        system = [Message("system", self.system)] if self.system else []
        return [*system, *self.messages]

    def say(self, text: str) -> Iterator[str]:
        """The parts of the answer to a message, which is part of the conversation once it has begun.

        `PromptError`, and nothing is said, where it is too long for the model.
        """
        self._again = 0
        yield from self._answer(Message("user", clean(text)))

    def again(self) -> Iterator[str]:
        """The parts of another answer to the last message. `InputError` where there is none."""
        asked, again = self.undo(), self._again + 1
        self._again = again
        yield from self._answer(asked)

    def undo(self) -> Message:
        """Take the last message and its answer back. `InputError` where there is none."""
        if not self.messages:
            raise InputError("nothing has been said yet")
        asked = self.messages[-2]
        del self.messages[-2:]
        return asked

    def _answer(self, asked: Message) -> Iterator[str]:
        chat = self.served.tuned
        if chat:
            prompt = self.served.chat_prompt([*self.conversation, asked])
        else:
            prompt = self.served.text_prompt(asked.content)
        growing = self.served.growing(asked.content, chat)
        stops = self.served.stops(chat)
        batch: RunningBatch[int] = RunningBatch(self.served.model)
        batch.join(0, Request(prompt, self.tokens, self.sampling, stops, self._again))
        self.messages += [asked, Message("assistant", "")]
        told = ""
        try:
            while len(batch):
                token = batch.step()[0].token
                if token is not None and (part := clean(growing.add(token))):
                    told += part
                    yield part
            told += (rest := clean(growing.rest()))
            yield rest
        finally:
            self.messages[-1] = Message("assistant", told)

    def set(self, key: str, value: str) -> None:
        """Another value of what an answer is made with. `InputError` where it is none."""
        known: dict[str, tuple[Callable[[str], Any], float, float]] = {
            "temperature": (float, 0.0, 100.0),
            "top_k": (int, 0, 1 << 31),
            "top_p": (float, 0.01, 1.0),
            "seed": (int, 0, 1 << 63),
            "tokens": (int, 1, 1 << 31),
        }
        if key not in known:
            raise InputError(f"{printable(key)}: there are {', '.join(known)}")
        read, least, most = known[key]
        try:
            number = read(value)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise InputError(f"{key} is {printable(value)}; a number from {least} to {most} is expected")
        if key == "tokens":
            self.tokens = int(number)
        else:
            self.sampling = replace(self.sampling, **{key: number})

    def settings(self) -> str:
        """What answers are made with."""
        told = [f"{one.name} {getattr(self.sampling, one.name)}" for one in fields(self.sampling)]
        return ", ".join([*told, f"tokens {self.tokens}"])

    def row(self) -> dict[str, Any]:
        """The conversation as a row of instructions."""
        return {"messages": [{"role": one.role, "content": one.content} for one in self.conversation]}


def converse(talk: Talk, console: Console, read: Callable[[], str | None]) -> None:
    """Answer what is read until nothing more is."""
    while (line := read()) is not None:
        if not line.strip():
            continue
        try:
            if line.startswith("/"):
                if _command(talk, console, *line[1:].partition(" ")[::2]):
                    return
            else:
                _tell(console, talk.say(line))
        except InputError as error:
            console.print(printable(str(error)), style="red", markup=False, highlight=False)


def _tell(console: Console, parts: Iterator[str]) -> None:
    """Show an answer as it comes; Ctrl-C stops it."""
    with suppress(KeyboardInterrupt):
        for part in parts:
            console.print(printable(part), end="", markup=False, highlight=False, soft_wrap=True)
            console.file.flush()
    parts.close()  # type: ignore[attr-defined]
    console.print("\n")


def _command(talk: Talk, console: Console, name: str, rest: str) -> bool:
    """Do what a line with a slash says; whether it was the last one."""
    rest = rest.strip()
    if name == "again":
        _tell(console, talk.again())
        return False
    if name in ("quit", "exit"):
        return True
    console.print(_said(talk, name, rest), style="dim", markup=False, highlight=False)
    return False


def _said(talk: Talk, name: str, rest: str) -> str:
    if name == "new":
        talk.messages.clear()
        return "a new conversation"
    if name == "undo":
        return f"taken back: {printable(talk.undo().content)[:200]}"
    if name == "system":
        talk.system = clean(rest)
        return "the system's words are kept" if rest else "the system says nothing"
    if name == "set":
        if rest:
            talk.set(*rest.partition(" ")[::2])
        return talk.settings()
    if name == "save":
        if not rest:
            raise InputError("/save needs the name of a file")
        if not talk.messages:
            raise InputError("nothing has been said yet")
        write_atomic(Path(rest).expanduser(), json.dumps(talk.row(), ensure_ascii=False) + "\n")
        return f"{printable(rest)}: {len(talk.conversation)} messages"
    if name == "help":
        return HELP
    raise InputError(f"/{printable(name)[:40]} is no command; /help lists them")


def reader(console: Console) -> Callable[[], str | None]:
    """Lines of a person or a pipe, those that end with a backslash with the next one; None at the end."""
    terminal = sys.stdin.isatty()
    if terminal:
        with suppress(ImportError):
            import readline  # noqa: F401 - input() takes its history and its keys from it

    def read() -> str | None:
        lines: list[str] = []
        while True:
            try:
                if terminal:
                    console.print("... " if lines else "you > ", end="", style="bold")
                line = input()
            except (EOFError, KeyboardInterrupt):
                return "\n".join(lines) if lines and not terminal else None
            if not line.endswith("\\"):
                return "\n".join([*lines, line])
            lines.append(line[:-1])

    return read
