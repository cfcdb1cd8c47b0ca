"""Continue prompts with a decoder, or answer them with an encoder and a decoder, several at once."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.generation.model import GenerativeModel, Prompts, begin, has_encoder, window


@dataclass(frozen=True)
class Sampling:
    """How the next id is drawn."""

    temperature: float = 1.0
    """What logits are divided by; 0 takes the likeliest id."""
    top_k: int = 0
    """Draw from so many likeliest ids; 0 from all."""
    top_p: float = 1.0
    """Draw from the fewest ids whose probabilities sum to at least this (Holtzman et al. 2020)."""
    seed: int = 0
    """Seed of every prompt's own stream of draws."""


GREEDY = Sampling(temperature=0.0)
Finished = Callable[[list[int]], bool]
"""Whether an answer is complete, by its ids so far."""


def generate(
    model: GenerativeModel,
    prompts: Prompts,
    max_tokens: int,
    sampling: Sampling = GREEDY,
    stop_ids: Collection[int] = (),
    finished: Finished | None = None,
) -> list[list[int]]:
    """The ids that follow each prompt, at most `max_tokens`, without the id that stopped them.

    An answer also ends with the id after which it is `finished`.
    Behind an encoder they answer the prompt, with no more ids than the decoder's longest. No prompt may be
    empty. What follows a prompt does not depend on the other prompts, for each draws from its own stream.
    Where prompt and answer outgrow what a decoder sees at once, it sees their end (`window`).
    """
    answers: list[list[int]] = [[] for _ in prompts]
    for index, token in stream(model, prompts, max_tokens, sampling, stop_ids, finished):
        answers[index].append(token)
    return answers


def stream(
    model: GenerativeModel,
    prompts: Prompts,
    max_tokens: int,
    sampling: Sampling = GREEDY,
    stop_ids: Collection[int] = (),
    finished: Finished | None = None,
) -> Iterator[tuple[int, int]]:
    """The same as it comes: the number of a prompt and an id that follows it."""
    for going, chosen, _ in drawn(model, prompts, max_tokens, sampling, stop_ids, finished=finished):
        for index, token in zip(going, chosen, strict=True):
            if token not in stop_ids:
                yield index, token


def drawn(
    model: GenerativeModel,
    prompts: Prompts,
    max_tokens: int,
    sampling: Sampling,
    stop_ids: Collection[int] = (),
    draws: Tensor | None = None,
    finished: Finished | None = None,
) -> Iterator[tuple[list[int], list[int], Tensor]]:
    """Step by step the prompts that go on, the id of each, and the logits [B, V] that it was drawn from.

    An id that stops a prompt is told, too. `draws` [prompts, max_tokens] are what `streams` gives where these
    are some of more prompts.
    """
    longest = model.config.context_length
    if has_encoder(model):
        max_tokens = min(max_tokens, longest)
    session, rows, logits_BV = begin(model, prompts, max_tokens)
    if draws is None:
        draws = streams(prompts, max_tokens, sampling.seed)
    draws = draws.to(logits_BV.device)
    going = list(range(len(rows)))
    begun = [len(row) for row in rows]
    for number in range(max_tokens):
        logits_BV = logits_BV[:, : model.vocabulary.size]
        chosen = choose(logits_BV, sampling, draws[going, number]).tolist()
        yield going, chosen, logits_BV
        kept = [place for place, token in enumerate(chosen) if token not in stop_ids]
        for place in kept:
            rows[going[place]].append(chosen[place])
        if finished:
            kept = [place for place in kept if not finished(rows[going[place]][begun[going[place]] :])]
        going = [going[place] for place in kept]
        if not going or number == max_tokens - 1:
            return
        if session.full:
            logits_BV = session.start([window(rows[index], longest) for index in going], max_tokens)
            continue
        if len(kept) < len(chosen):
            session.select(torch.tensor(kept, device=logits_BV.device))
        logits_BV = session.step(torch.tensor([rows[i][-1] for i in going], device=logits_BV.device))


def streams(prompts: Prompts, count: int, seed: int) -> Tensor:
    """[B, count] numbers in [0, 1), by the seed, the prompt and how many equal prompts stand before it."""
    before: Counter[tuple[int, ...]] = Counter()
    drawn = []
    for prompt in map(tuple, prompts):
        drawn.append(stream_of(prompt, before[prompt], seed).random(count))
        before[prompt] += 1
    return torch.from_numpy(np.stack(drawn))


def stream_of(prompt: Sequence[int], before: int, seed: int) -> np.random.Generator:
    """What one prompt draws from, behind so many equal ones."""
    return np.random.default_rng([seed, before, *prompt])


def choose(logits_BV: Tensor, sampling: Sampling, draws_B: Tensor) -> Tensor:
    """[B] one id each: from the likeliest on, the first at which the kept probability reaches the draw."""
    if sampling.temperature == 0:
        return logits_BV.argmax(dim=1)
    if sampling.top_k:
        logits_BK, ids_BK = logits_BV.topk(min(sampling.top_k, logits_BV.shape[1]))
    else:
        logits_BK, ids_BK = logits_BV.sort(dim=1, descending=True, stable=True)
    shares_BK = (logits_BK.double() / sampling.temperature).softmax(dim=1)
    before_BK = shares_BK.cumsum(dim=1) - shares_BK
    shares_BK = shares_BK.masked_fill(before_BK >= sampling.top_p, 0.0)
    reached_BK = shares_BK.cumsum(dim=1)
    places_B1 = torch.searchsorted(reached_BK, draws_B.unsqueeze(1) * reached_BK[:, -1:])
    return ids_BK.gather(1, places_B1).squeeze(1)
