"""The model that is served: its name, its prompts and the text of its answers."""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from data_prep.contract.cleaning import clean
from data_prep.contract.settings import InputError
from launch.serving.limits import CHARACTERS_A_TOKEN
from pipeline.conversion.export import was_tuned
from pipeline.generation.load import LoadedModel, find_checkpoint, load_model
from pipeline.generation.model import has_encoder
from pipeline.prompting.chat import ChatTemplate, Message
from pipeline.prompting.text import Growing, prompt_ids, stop_ids

BYTE = re.compile(r"<0x([0-9A-F]{2})>")
"""SentencePiece's piece for a byte."""


class PromptError(InputError):
    """A prompt that the model cannot read."""


@dataclass(frozen=True)
class Served:
    """A loaded model under a name. Prompts may be made in several threads."""

    name: str
    model: LoadedModel
    tuned: bool
    """Whether it learned to answer; else it goes on with texts."""
    created: int
    """Seconds since 1970 at which its checkpoint was made."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @cached_property
    def _template(self) -> ChatTemplate:
        return ChatTemplate(self.model.vocabulary)

    @property
    def longest(self) -> int:
        """Most ids of a prompt."""
        return self.model.config.context_length

    @property
    def reads_and_answers(self) -> bool:
        """Whether an encoder reads the prompt."""
        return has_encoder(self.model)

    def stops(self, chat: bool) -> frozenset[int]:
        """The ids that end an answer."""
        return frozenset(stop_ids(self.model.vocabulary, chat))

    def chat_prompt(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The ids after which the assistant speaks. `PromptError` where they are too many."""
        self._check_characters(sum(len(one.content) for one in messages))
        with self._lock:  # a template in Jinja may have bounds that are the whole process's
            return self._fitting(self._template.prompt(messages))

    def text_prompt(self, text: str) -> tuple[int, ...]:
        """The ids of a text to go on with. `PromptError` where they are too many."""
        self._check_characters(len(text))
        return self._fitting(prompt_ids(self.model, text, chat=False))

    def given_prompt(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Ids that a client made itself. `PromptError` where the tokenizer has none such."""
        size = self.model.vocabulary.size
        wrong = next((one for one in ids if not 0 <= one < size), None)
        if wrong is not None:
            raise PromptError(f"prompt has the id {wrong}; the tokenizer has those from 0 to {size - 1:,}")
        return self._fitting(ids)

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        return clean(self.model.vocabulary.decode(list(ids)))

    def growing(self, text: str, chat: bool) -> Growing:
        """The text of an answer to this prompt, as it comes."""
        return Growing(self.model, text, chat)

    def piece(self, token: int) -> str:
        """An id as a text of its own: what it adds to others, as far as that is known."""
        return self.model.vocabulary.piece_of(token).replace("\u2581", " ")

    def piece_bytes(self, token: int) -> list[int]:
        """The bytes of that text; a piece that stands for one byte has that."""
        piece = self.piece(token)
        byte = BYTE.fullmatch(piece)
        return [int(byte[1], 16)] if byte else [*piece.encode("utf-8", "replace")]

    def _check_characters(self, count: int) -> None:
        most = CHARACTERS_A_TOKEN * self.longest
        if count > most:
            raise PromptError(
                f"a prompt of {count:,} characters, which are more than {self.longest:,} tokens, "
                "the most that the model reads"
            )

    def _fitting(self, ids: Sequence[int]) -> tuple[int, ...]:
        if len(ids) > self.longest:
            raise PromptError(
                f"a prompt of {len(ids):,} tokens; the model reads at most {self.longest:,}: make it shorter"
            )
        return tuple(ids)


def open_served(path: Path, name: str | None, average: bool) -> Served:
    """The model of a run or checkpoint; it goes by its work folder's and its run's names if by no other.

    `InputError` for one that gives no answers: an encoder or a reward model.
    """
    model = load_model(path, average)
    if model.config.model.architecture == "encoder":
        raise InputError(f"{path}: an encoder does not go on with a text; `bloomery generate --fill` asks it")
    checkpoint, run = find_checkpoint(path)
    run = run.resolve()
    usual = "/".join(part for part in (run.parent.name, run.name) if part)
    created = int(checkpoint.folder.stat().st_mtime)
    return Served(name or usual, model, was_tuned(run, model.config), created)
