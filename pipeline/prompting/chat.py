"""The chat template: how a conversation becomes token ids, and which of them the model learns.

    <bos> <|system|> text <|end|> <|user|> text <|end|> <|assistant|> text <|end|>

Markers are composed as ids and never read from text: the tokenizer cannot encode text into them, so a message
that contains the letters `<|end|>` ends nothing. A published tokenizer has no such markers: roles are then
written out as its text, and what ends a turn is the end of a text, which no message can have in it either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from data_prep.contract.vocabulary import ASSISTANT, END, SYSTEM, USER, Vocabulary

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
    """Composes conversations for one vocabulary, with its chat markers or in its words."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        marked = all(vocabulary.has(piece) for piece in (END, *MARKERS.values()))
        self.end = vocabulary.id_of(END) if marked else vocabulary.eos
        self._markers = {
            role: [vocabulary.id_of(piece)] if marked else vocabulary.encode(piece)
            for role, piece in MARKERS.items()
        }

    def encode(self, conversations: Sequence[Sequence[Message]]) -> list[Encoded]:
        """The ids of whole conversations: assistants' words and the <|end|> after them are learned."""
        contents = self.vocabulary.encode_batch(
            message.content for messages in conversations for message in messages
        )
        pieces = iter(contents)
        return [self._compose([(message.role, next(pieces)) for message in one]) for one in conversations]

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids after which the assistant speaks: the conversation so far and an open <|assistant|>."""
        return [*self.encode([messages])[0].tokens, *self._markers["assistant"]]

    def _compose(self, turns: list[tuple[Role, list[int]]]) -> Encoded:
        tokens, learned = [self.vocabulary.bos], [False]
        for role, content in turns:
            marker = self._markers[role]
            tokens += [*marker, *content, self.end]
            learned += [False] * len(marker) + [role == "assistant"] * (len(content) + 1)
        return Encoded(tokens, learned)
