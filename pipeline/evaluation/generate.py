"""Continue prompts with a language model, left to right, several at once."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.scoring import LanguageModel


def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    stop_ids: Collection[int] = (),
) -> list[list[int]]:
    """The ids that follow each prompt, at most `max_tokens`, without the id that stopped them.

    `temperature` 0 takes the likeliest id. `top_k` keeps the k likeliest ids (0 keeps all), `top_p` the
    fewest ids whose probabilities sum to at least p (Holtzman et al. 2020). Each prompt draws from its own
    stream of `seed`, so what follows it does not depend on the other prompts. Where prompt and answer
    outgrow the model's sequence length S, the model sees the last S ids. No prompt may be empty.
    """
    assert all(len(prompt) > 0 for prompt in prompts)
    rows = [list(map(int, prompt)) for prompt in prompts]
    starts = [len(row) for row in rows]
    streams = [np.random.default_rng([seed, index]) for index in range(len(rows))]
    going = list(range(len(rows)))
    for _ in range(max_tokens):
        if not going:
            break
        logits = _next_logits(model, [rows[index] for index in going])
        for index, logits_V in zip(list(going), logits, strict=True):
            chosen = choose(logits_V, temperature, top_k, top_p, streams[index].random())
            if chosen in stop_ids:
                going.remove(index)
            else:
                rows[index].append(chosen)
    return [row[start:] for row, start in zip(rows, starts, strict=True)]


def _next_logits(model: LanguageModel, rows: list[list[int]]) -> NDArray[np.float64]:
    """Logits [B, V] of what follows each row; rows of different lengths are padded on the right."""
    import torch

    seen = [row[-model.config.data.sequence_length :] for row in rows]
    tokens = np.full((len(seen), max(map(len, seen))), model.vocabulary.pad, dtype=np.int64)
    for index, row in enumerate(seen):
        tokens[index, : len(row)] = row
    logits = model.logits(torch.from_numpy(tokens))
    last = [len(row) - 1 for row in seen]
    chosen = logits[torch.arange(len(seen)), last, : model.vocabulary.size]
    values: NDArray[np.float64] = chosen.double().cpu().numpy()
    return values


def choose(logits_V: NDArray[np.float64], temperature: float, top_k: int, top_p: float, draw: float) -> int:
    """One id drawn with `draw` in [0, 1): the first whose share of the kept probability reaches it."""
    if temperature == 0:
        return int(logits_V.argmax())
    order = np.argsort(-logits_V, kind="stable")[: top_k or None]
    scaled = logits_V[order] / temperature
    probabilities = np.exp(scaled - scaled[0])
    probabilities /= probabilities.sum()
    before = probabilities.cumsum() - probabilities
    kept = probabilities[before < top_p]
    return int(order[np.searchsorted(kept.cumsum(), draw * kept.sum(), side="right")])
