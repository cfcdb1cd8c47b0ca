"""Beam search: the likeliest texts that a narrow search finds, instead of one that is drawn.

It keeps a number of unfinished texts for each prompt and as many finished ones. A finished text is scored by
its log-probability divided by its length to a power (Wu et al. 2016, section 7, in the simple form that
transformers uses). A prompt's search ends when its best unfinished text, scored as it is, falls behind all of
its finished ones: transformers' default, `early_stopping=False`.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from data_prep.contract.settings import InputError
from pipeline.generation.model import GenerativeModel, Prompts, begin, has_encoder


@dataclass(frozen=True)
class Beams:
    """How a search is made."""

    count: int = 4
    """Unfinished texts that are kept of each prompt."""
    length_penalty: float = 1.0
    """Power of the length that a log-probability is divided by; above 0 it favours long texts."""


@dataclass
class Texts:
    """K texts of each of P prompts, the best first: tokens [P, K, L] and scores [P, K]."""

    tokens: Tensor
    scores: Tensor

    def best(self, scores: Tensor, count: int) -> tuple["Texts", Tensor]:
        """The `count` texts that are best by these scores [P, K], and their places [P, count]."""
        scores, places = scores.topk(count, dim=1)
        return Texts(take(self.tokens, places), scores), places


def beam_search(
    model: GenerativeModel,
    prompts: Prompts,
    max_tokens: int,
    beams: Beams = Beams(),
    stop_ids: Collection[int] = (),
) -> list[list[int]]:
    """The ids that follow each prompt in the best text found, without the id that stopped it.

    Behind an encoder an answer has no more ids than the decoder's longest. `InputError` where a prompt with
    its answer is longer than what a decoder sees at once.
    """
    max_tokens = _that_fit(model, prompts, max_tokens)
    session, _, logits_BV = begin(model, prompts, max_tokens)
    stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=logits_BV.device)
    search = Search(len(prompts), beams, max_tokens, stops)
    found: list[list[int]] = [[] for _ in prompts]
    open_prompts = list(range(len(prompts)))
    while True:
        parents = search.advance(logits_BV[:, : model.vocabulary.size])
        going = search.going()
        for place, still in enumerate(going.tolist()):
            if not still:
                found[open_prompts[place]] = search.answer(place)
        open_prompts = [prompt for prompt, still in zip(open_prompts, going.tolist(), strict=True) if still]
        if not open_prompts:
            return found
        rows = parents[going].flatten()
        if len(rows) == len(logits_BV):
            session.reorder(rows)
        else:
            session.select(rows)
        search.keep(going)
        logits_BV = session.step(search.live.tokens[:, :, -1].flatten())


class Search:
    """The texts of all prompts whose search is open."""

    def __init__(self, prompts: int, beams: Beams, max_tokens: int, stop_ids: Tensor) -> None:
        self.count, self.length_penalty = beams.count, beams.length_penalty
        self.max_tokens, self.stop_ids, device = max_tokens, stop_ids, stop_ids.device
        nothing = torch.zeros(prompts, self.count, max_tokens, dtype=torch.long, device=device)
        self.live = Texts(nothing[:, :1, :0], torch.zeros(prompts, 1, device=device))
        self.done = Texts(nothing, torch.full((prompts, self.count), -math.inf, device=device))
        self.lengths = torch.zeros(prompts, self.count, dtype=torch.long, device=device)

    def advance(self, logits_BV: Tensor) -> Tensor:
        """Add a token to every unfinished text; [P, K] the row that each new one goes on from.

        As many candidates are looked at as leave K that did not stop, whatever stops. One that stopped counts
        only among the first K.
        """
        prompts, vocabulary = len(self.live.scores), logits_BV.shape[1]
        scores = self.live.scores.unsqueeze(2) + logits_BV.log_softmax(dim=1).view(prompts, -1, vocabulary)
        count = max(2, 1 + len(self.stop_ids)) * self.count
        scores, places = scores.flatten(1).topk(min(count, scores[0].numel()), dim=1)
        parents, tokens = places // vocabulary, places % vocabulary
        texts = torch.cat((take(self.live.tokens, parents), tokens.unsqueeze(2)), dim=2)
        stopped = torch.isin(tokens, self.stop_ids)
        self._finish(Texts(texts, scores), stopped | (texts.shape[2] == self.max_tokens))
        first_rows = torch.arange(prompts, device=scores.device).unsqueeze(1) * self.live.scores.shape[1]
        unfinished = scores.masked_fill(stopped, -math.inf)
        self.live, chosen = Texts(texts, scores).best(unfinished, min(self.count, scores.shape[1]))
        return take(parents + first_rows, chosen)

    def _finish(self, candidates: Texts, stopped: Tensor) -> None:
        length = candidates.tokens.shape[2]
        late = torch.arange(stopped.shape[1], device=stopped.device) >= self.count
        scores = candidates.scores / length**self.length_penalty
        scores = scores.masked_fill(~stopped | late, -math.inf)
        padded = torch.nn.functional.pad(candidates.tokens, (0, self.max_tokens - length))
        lengths = torch.cat((self.lengths, torch.full_like(padded[:, :, 0], length)), dim=1)
        both = Texts(torch.cat((self.done.tokens, padded), dim=1), scores)
        self.done, chosen = both.best(torch.cat((self.done.scores, scores), dim=1), self.count)
        self.lengths = take(lengths, chosen)

    def going(self) -> Tensor:
        """[P] whether a prompt's unfinished texts can still come among its finished ones."""
        length = self.live.tokens.shape[2]
        if length == self.max_tokens:
            return torch.zeros_like(self.live.scores[:, 0], dtype=torch.bool)
        return self.live.scores[:, 0] / length**self.length_penalty > self.done.scores.min(dim=1).values

    def answer(self, place: int) -> list[int]:
        """The ids of a prompt's best finished text."""
        ids: list[int] = self.done.tokens[place, 0, : self.lengths[place, 0]].tolist()
        return ids[:-1] if ids[-1] in self.stop_ids.tolist() else ids

    def keep(self, going: Tensor) -> None:
        """Go on with these prompts alone."""
        self.live = Texts(self.live.tokens[going], self.live.scores[going])
        self.done = Texts(self.done.tokens[going], self.done.scores[going])
        self.lengths = self.lengths[going]


def take(values: Tensor, places: Tensor) -> Tensor:
    """Of values [P, K, ...] those at places [P, C] of the second dimension."""
    return values[torch.arange(len(values), device=values.device).unsqueeze(1), places]


def _that_fit(model: GenerativeModel, prompts: Prompts, max_tokens: int) -> int:
    longest = model.config.context_length
    if has_encoder(model):
        return min(max_tokens, longest)
    together = max(map(len, prompts)) + max_tokens
    if together > longest:
        raise InputError(
            f"a beam search over a prompt of {together - max_tokens} tokens and {max_tokens} more; "
            f"the model sees at most {longest} together"
        )
    return max_tokens
