"""Between a person's text and a model's ids: what a prompt is for each kind of model, and how answers read.

`<mask>` and `<extra_id_N>` in a text are blanks: the reserved tokens of these names, which no other text can
be encoded into.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby

from data_prep.contract.cleaning import clean
from data_prep.contract.vocabulary import MASK, SENTINELS, Vocabulary
from pipeline.generation.model import GenerativeModel, has_encoder
from pipeline.objectives.objective import Objective
from pipeline.objectives.registry import objective_of
from pipeline.prompting.chat import ChatTemplate, Message

BLANK = re.compile(r"(<mask>|<extra_id_\d+>)")


def prompt_ids(model: GenerativeModel, text: str, chat: bool) -> list[int]:
    """What a model is given so that it goes on with a text, or with `chat` answers it.

    An encoder-decoder that learned to fill in blanks goes on by filling in one behind the text, unless the
    text has its own.
    """
    vocabulary, text = model.vocabulary, clean(text)
    if chat:
        return ChatTemplate(vocabulary).prompt([Message("user", text)])
    if not has_encoder(model):
        before = [vocabulary.eos] if vocabulary.frame is None else vocabulary.frame[0]
        return [*before, *vocabulary.encode(text)] or [vocabulary.start]
    objective = objective_of(model.config.objective)
    if not BLANK.search(text):
        text += f" {objective.blank}"
    return framed(objective, vocabulary, blanked(vocabulary, text))


def framed(objective: Objective, vocabulary: Vocabulary, ids: Sequence[int]) -> list[int]:
    """What an encoder reads: the ids of a text in what the tokenizer or the objective puts around them."""
    if vocabulary.frame is not None:
        before, after = vocabulary.frame
        return [*before, *ids, *after]
    return objective.framed(vocabulary, ids)


def stop_ids(vocabulary: Vocabulary, chat: bool = False) -> set[int]:
    """What ends what a model says: what a published folder says; a `chat`'s turns have an end too."""
    return {*vocabulary.ends, *([ChatTemplate(vocabulary).end] if chat else [])}


def blanked(vocabulary: Vocabulary, text: str) -> list[int]:
    """The ids of a text with blanks. A space before a blank belongs to what fills it, as in training."""
    ids: list[int] = []
    parts = BLANK.split(clean(text))
    for place, part in enumerate(parts):
        if place % 2:
            ids.append(vocabulary.id_of(part))
            continue
        if place + 1 < len(parts):
            part = part.removesuffix(" ")
        ids += vocabulary.encode_inside(part) if place else vocabulary.encode(part)
    return ids


def blank_names(vocabulary: Vocabulary) -> dict[int, str]:
    """What blanks are called in a text, by their ids."""
    return {vocabulary.id_of(piece): piece for piece in (MASK, *SENTINELS) if vocabulary.has(piece)}


def with_names(vocabulary: Vocabulary, ids: Sequence[int]) -> str:
    """The text of ids, with its blanks by their names."""
    names = blank_names(vocabulary)
    parts = [
        name or vocabulary.decode(list(run)) for name, run in groupby(ids, lambda token: names.get(token, ""))
    ]
    return " ".join(parts)


def readable(model: GenerativeModel, text: str, chat: bool, answer: Sequence[int]) -> str:
    """What a person reads: a text with what follows it, or what the model says to it."""
    vocabulary, text = model.vocabulary, clean(text)
    if not chat and not has_encoder(model):
        return vocabulary.decode([*vocabulary.encode(text), *answer])
    told = with_names(vocabulary, answer) if BLANK.search(text) else vocabulary.decode(answer)
    return told.removeprefix(" ") if chat else told


class Growing:
    """What `readable` tells of an answer, in parts as its ids come; a character waits for all its bytes."""

    def __init__(self, model: GenerativeModel, text: str, chat: bool) -> None:
        self._readable = partial(readable, model, text, chat)
        self._ids: list[int] = []
        self.told = self._readable([])
        """All that was told so far; at first the text itself where the model goes on with it."""

    def add(self, token: int) -> str:
        """What one more id adds, which may be nothing yet."""
        self._ids.append(token)
        whole = self._readable(self._ids)
        return "" if whole.endswith("\N{REPLACEMENT CHARACTER}") else self._more(whole)

    def rest(self) -> str:
        """What is left when no more comes."""
        return self._more(self._readable(self._ids))

    def _more(self, whole: str) -> str:
        more, self.told = whole[len(self.told) :], whole
        return more


def growing(model: GenerativeModel, text: str, chat: bool, answer: Iterable[int]) -> Iterator[str]:
    """The parts of a text and its answer, as they come."""
    parts = Growing(model, text, chat)
    yield parts.told
    for token in answer:
        if more := parts.add(token):
            yield more
    yield parts.rest()
