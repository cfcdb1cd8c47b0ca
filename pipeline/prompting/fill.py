"""Fill in the blanks of texts: an encoder by the likeliest tokens, an encoder and a decoder by generation.

I <mask> this red car        an encoder: one token in each blank, each likeliest by itself
                             T5: any number of tokens; the blanks become sentinels
                             BART: any number of tokens; it writes the whole text
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from data_prep.contract.cleaning import clean
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import MASK, SENTINELS, Vocabulary
from pipeline.generation.beams import Beams, beam_search
from pipeline.generation.model import GenerativeModel, has_encoder
from pipeline.objectives.objective import Objective
from pipeline.objectives.registry import objective_of
from pipeline.prompting.text import blanked, framed


@dataclass(frozen=True)
class Candidate:
    """What could stand in a blank."""

    text: str
    probability: float | None = None
    """Among all tokens, for an encoder."""


@dataclass(frozen=True)
class Filled:
    """A text with its blanks filled in, and for each blank what could stand there, the likeliest first."""

    text: str
    blanks: list[list[Candidate]]


class MaskedModel(GenerativeModel, Protocol):
    """A model that also gives the logits of whole rows."""

    def logits(self, tokens_BS: Any, /) -> Any:
        """Float32 logits [B, S, V] of tokens [B, S]."""
        ...


def fill(
    model: MaskedModel, texts: Sequence[str], candidates: int, max_tokens: int, beams: Beams
) -> list[Filled]:
    """Each text with its blanks filled in.

    An encoder names as many `candidates` for each blank; a decoder has at most `max_tokens` for each text,
    found by beam search. `InputError` where a text has no blank or the model is a decoder alone.
    """
    texts = [clean(text) for text in texts]
    if not model.config.model.language_head:
        raise InputError("a bare encoder predicts no words and fills in no blanks; it has no language head")
    for text in texts:
        if MASK not in text:
            raise InputError(f"{text!r} has no blank to fill in; write {MASK} where one is")
    objective = objective_of(model.config.objective)
    if not objective.fills:
        raise InputError("a decoder alone goes on with texts and fills in no blanks; give it a prompt")
    if not has_encoder(model):
        return [_by_tokens(model, text, candidates) for text in texts]
    by_generation = _by_rewriting if objective.rewrites else _by_spans
    return by_generation(model, objective, texts, max_tokens, beams)


def _by_tokens(model: MaskedModel, text: str, candidates: int) -> Filled:
    vocabulary = model.vocabulary
    mask = vocabulary.id_of(MASK)
    ids = framed(objective_of(model.config.objective), vocabulary, blanked(vocabulary, text))
    _check_length(model, ids)
    places = [place for place, token in enumerate(ids) if token == mask]
    logits_NV: Tensor = model.logits(torch.tensor([ids]))[0, places, : vocabulary.size]
    shares_NK, tokens_NK = logits_NV.softmax(dim=1).topk(candidates, dim=1)
    for place, token in zip(places, tokens_NK[:, 0].tolist(), strict=True):
        ids[place] = token
    blanks = [
        [Candidate(vocabulary.decode([token]), share) for token, share in zip(*both, strict=True)]
        for both in zip(tokens_NK.tolist(), shares_NK.tolist(), strict=True)
    ]
    return Filled(vocabulary.decode(ids), blanks)


def _by_spans(
    model: GenerativeModel, objective: Objective, texts: Sequence[str], max_tokens: int, beams: Beams
) -> list[Filled]:
    vocabulary = model.vocabulary
    sources = []
    for text in texts:
        known = len(vocabulary.sentinels)
        if text.count(MASK) > known:
            raise InputError(f"{text.count(MASK)} blanks in a text; there are {known} sentinels")
        pairs = zip(text.split(MASK), [*SENTINELS[: text.count(MASK)], ""], strict=True)
        marked = "".join(part + sentinel for part, sentinel in pairs)
        sources.append(framed(objective, vocabulary, blanked(vocabulary, marked)))
        _check_length(model, sources[-1])
    answers = beam_search(model, sources, max_tokens, beams, {vocabulary.eos})
    return [_put_back(vocabulary, *pair) for pair in zip(sources, answers, strict=True)]


def _put_back(vocabulary: Vocabulary, source: Sequence[int], answer: Sequence[int]) -> Filled:
    spans = spans_of(answer, vocabulary.sentinels)
    blanks = [token for token in source if token in vocabulary.sentinels]
    whole = [one for token in source for one in (spans.get(token, []) if token in blanks else [token])]
    return Filled(
        vocabulary.decode(whole), [[Candidate(vocabulary.decode(spans.get(one, [])))] for one in blanks]
    )


def spans_of(answer: Sequence[int], sentinels: Sequence[int]) -> dict[int, list[int]]:
    """What an answer says behind each sentinel, up to the next; the first time counts.

    >>> spans_of([99, 5, 6, 98, 7, 99, 8], (99, 98, 97))
    {99: [5, 6], 98: [7]}
    """
    spans: dict[int, list[int]] = {}
    current: list[int] = []
    for token in answer:
        if token in sentinels:
            current = []
            spans.setdefault(token, current)
        else:
            current.append(token)
    return spans


def _by_rewriting(
    model: GenerativeModel, objective: Objective, texts: Sequence[str], max_tokens: int, beams: Beams
) -> list[Filled]:
    vocabulary = model.vocabulary
    sources = [framed(objective, vocabulary, blanked(vocabulary, text)) for text in texts]
    for source in sources:
        _check_length(model, source)
    answers = beam_search(model, sources, max_tokens, beams, {vocabulary.eos})
    told = [vocabulary.decode(answer) for answer in answers]
    return [Filled(one, blanks_in(one, text)) for one, text in zip(told, texts, strict=True)]


def blanks_in(told: str, text: str) -> list[list[Candidate]]:
    """What stands in a rewritten text where the blanks were; nothing where the rest was changed too.

    >>> [one.text for [one] in blanks_in("I love this car", "I <mask> this <mask>")]
    ['love', 'car']
    """
    first, *others = [part.strip() for part in text.split(MASK)]
    told = told.strip()
    found, at = list[str](), len(first)
    if not told.startswith(first):
        return []
    for number, part in enumerate(others, 1):  # where each comes first leaves most room for the next
        end = told.find(part, at) if number < len(others) else len(told) - len(part)
        if end < at or not told.startswith(part, end):
            return []
        found.append(told[at:end].strip())
        at = end + len(part)
    return [[Candidate(one)] for one in found] if at == len(told) else []


def _check_length(model: GenerativeModel, ids: Sequence[int]) -> None:
    longest = model.config.context_length
    if len(ids) > longest:
        raise InputError(f"a text of {len(ids)} tokens; the model reads at most {longest}")
