"""The chat template: how a conversation becomes token ids, and which of them the model learns.

    <bos> <|system|> text <|end|> <|user|> text <|end|> <|assistant|> text <|end|>

Markers are composed as ids and never read from text: the tokenizer cannot encode text into them, so a message
that contains the letters `<|end|>` ends nothing. A published tokenizer has no such markers. A chat template
that its folder brings is used (`published`); else roles are written out as its text, and what ends a turn is
the end of a text, which no message can have in it either:

    <s> "<|user|> text" </s> "<|assistant|> text" </s>
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from data_prep.contract.vocabulary import ASSISTANT, END, SYSTEM, USER, Vocabulary
from pipeline.prompting.published import PublishedTemplate

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = get_args(Role)
MARKERS: dict[Role, str] = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Encoded:
    """A conversation as ids; `learned` says of each id whether the loss counts its prediction."""

    tokens: list[int]
    learned: list[bool]


class ChatTemplate:
    """Composes conversations for one vocabulary: with chat markers, by its own template, or in its words."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.marked = all(vocabulary.has(piece) for piece in (END, *MARKERS.values()))
        """Whether roles are the tokens of ours, and not words."""
        text = None if self.marked else vocabulary.chat_template
        self.published = None if text is None else PublishedTemplate(vocabulary, text)
        """The template that the tokenizer's folder brought; None where it brought none."""

    @cached_property
    def end(self) -> int:
        """The id that ends a turn."""
        if self.published:
            return self.published.end
        return self.vocabulary.id_of(END) if self.marked else self.vocabulary.eos

    @cached_property
    def _markers(self) -> dict[Role, list[int]]:
        vocabulary = self.vocabulary
        return {
            role: [vocabulary.id_of(piece)] if self.marked else vocabulary.encode_behind(piece, self.end)
            for role, piece in MARKERS.items()
        }

    def encode(self, conversations: Sequence[Sequence[Message]]) -> list[Encoded]:
        """The ids of whole conversations: assistants' words and the <|end|> after them are learned.

        `InputError` where the tokenizer's own template refuses one.
        """
        return [self._compose(messages) for messages in conversations]

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids after which the assistant speaks: the conversation so far and an open <|assistant|>."""
        if self.published:
            return self.published.prompt(messages)
        return [*self.encode([messages])[0].tokens, *self._markers["assistant"]]

    def _compose(self, messages: Sequence[Message]) -> Encoded:
        if self.published:
            return Encoded(*self.published.encode(messages))
        tokens, learned = [self.vocabulary.bos], [False]
        for message in messages:
            marker = self._markers[message.role]
            content = self._content(message)
            tokens += [*marker, *content, self.end]
            learned += [False] * len(marker) + [message.role == "assistant"] * (len(content) + 1)
        return Encoded(tokens, learned)

    def _content(self, message: Message) -> list[int]:
        """The ids of what is said, behind its marker.

        In words the two are one text, cut as one; where that would join the marker's end to what is said,
        which no answer could then begin with, they are cut apart.
        """
        if self.marked:
            return self.vocabulary.encode(message.content)
        text, marker = f" {message.content}", self._markers[message.role]
        both = self.vocabulary.encode_behind(MARKERS[message.role] + text, self.end)
        if both[: len(marker)] == marker:
            return both[len(marker) :]
        return self.vocabulary.encode_inside(text)
