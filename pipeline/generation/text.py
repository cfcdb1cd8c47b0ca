"""Between a person's text and a model's ids: what a prompt is for each kind of model, and how answers read.

`<mask>` and `<extra_id_N>` in a text are blanks: the reserved tokens of these names, which no other text can
be encoded into.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from data_prep.contract.vocabulary import END, MASK, SENTINELS, Vocabulary
from pipeline.generation.model import GenerativeModel, has_encoder
from pipeline.tuning.chat import ChatTemplate, Message

BLANK = re.compile(r"(<mask>|<extra_id_\d+>)")


def prompt_ids(model: GenerativeModel, text: str, chat: bool) -> list[int]:
    """What a model is given so that it goes on with a text, or with `chat` answers it.

    An encoder-decoder that learned to fill in blanks goes on by filling in one behind the text, unless the
    text has its own.
    """
    vocabulary = model.vocabulary
    if chat:
        return ChatTemplate(vocabulary).prompt([Message("user", text)])
    if not has_encoder(model):
        return [vocabulary.eos, *vocabulary.encode(text)]
    if not BLANK.search(text):
        text += f" {MASK if model.config.objective.kind == 'denoising' else SENTINELS[0]}"
    return [*blanked(vocabulary, text), vocabulary.eos]


def stop_ids(vocabulary: Vocabulary) -> set[int]:
    """What ends an answer."""
    return {vocabulary.eos, *(vocabulary.id_of(piece) for piece in (END,) if vocabulary.has(piece))}


def blanked(vocabulary: Vocabulary, text: str) -> list[int]:
    """The ids of a text with blanks. A space before a blank belongs to what fills it, as in training."""
    ids: list[int] = []
    parts = BLANK.split(text)
    for place, part in enumerate(parts):
        if place % 2:
            ids.append(vocabulary.id_of(part))
            continue
        if place + 1 < len(parts):
            part = part.removesuffix(" ")
        if place == 0:
            ids += vocabulary.encode(part)
        else:
            ids += vocabulary.encode(part[1:]) if part.startswith(" ") else vocabulary.encode_inside(part)
    return ids


def with_names(vocabulary: Vocabulary, ids: Sequence[int]) -> str:
    """The text of ids, with its blanks by their names."""
    names = {vocabulary.id_of(piece): piece for piece in (MASK, *SENTINELS) if vocabulary.has(piece)}
    parts = [
        name or vocabulary.decode(list(run)) for name, run in groupby(ids, lambda token: names.get(token, ""))
    ]
    return " ".join(parts)


def readable(model: GenerativeModel, text: str, chat: bool, answer: Sequence[int]) -> str:
    """What a person reads: a text with what follows it, or what the model says to it."""
    vocabulary = model.vocabulary
    if not chat and not has_encoder(model):
        return vocabulary.decode([*vocabulary.encode(text), *answer])
    return with_names(vocabulary, answer) if BLANK.search(text) else vocabulary.decode(answer)


def growing(model: GenerativeModel, text: str, chat: bool, answer: Iterable[int]) -> Iterator[str]:
    """The same in the parts in which it comes; a character waits for all of its bytes."""
    ids: list[int] = []
    told = readable(model, text, chat, ids)
    yield told
    for token in answer:
        ids.append(token)
        whole = readable(model, text, chat, ids)
        if not whole.endswith("\N{REPLACEMENT CHARACTER}"):
            yield whole[len(told) :]
            told = whole
    yield readable(model, text, chat, ids)[len(told) :]
