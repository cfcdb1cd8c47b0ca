"""Answers of a finished run in this process, scored by a reward model and a reference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.generation.answers import Answer, answers
from pipeline.generation.load import LoadedModel
from pipeline.generation.sampling import Sampling, streams
from pipeline.objectives.divergences import k1
from pipeline.objectives.losses import token_log_probabilities
from pipeline.objectives.pairs import at_ends
from pipeline.preferences.prompts import Prompt
from pipeline.preferences.rollouts import Arrays, laid_out
from pipeline.prompting.text import stop_ids

AT_ONCE = 64
"""Rows that a model computes together."""


@dataclass(frozen=True)
class Asked:
    """Answers to prompts with their rows."""

    prompts: list[Prompt]
    given: list[Answer]
    arrays: Arrays

    def chunks(self) -> list[Arrays]:
        """The rows in parts."""
        parts = torch.arange(len(self.given)).split(AT_ONCE)
        return [{name: array[part] for name, array in self.arrays.items()} for part in parts]


def ask(
    model: LoadedModel, prompts: Sequence[Prompt], each: int, max_tokens: int, temperature: float, seed: int
) -> Asked:
    """`each` answers to every prompt, those to one behind one another."""
    repeated = [prompt for prompt in prompts for _ in range(each)]
    given = answers_to(model, [prompt.tokens for prompt in repeated], max_tokens, temperature, seed)
    longest = model.config.context_length
    return Asked(repeated, given, laid_out(repeated, given, model.vocabulary.pad, longest))


def answers_to(
    model: LoadedModel, ids: Sequence[Sequence[int]], max_tokens: int, temperature: float, seed: int
) -> list[Answer]:
    """An answer to each prompt of a chat, given as ids."""
    draws, sampling = streams(ids, max_tokens, seed), Sampling(temperature=temperature, seed=seed)
    stops = stop_ids(model.vocabulary, chat=True)
    given: list[Answer] = []
    for first in range(0, len(ids), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        given += answers(model, ids[part], max_tokens, sampling, stops, draws[part])
    return given


@torch.inference_mode()
def scores(model: LoadedModel, asked: Asked) -> NDArray[np.float64]:
    """What a reward model says of each answer."""
    found: list[Tensor] = []
    for part in asked.chunks():
        values = model.module({"tokens": part["tokens"].to(model.device)})["values"]
        found.append(at_ends(values, part["lengths"].to(values.device)).cpu())
    return torch.cat(found).double().numpy()


@torch.inference_mode()
def divergences(reference: LoadedModel, asked: Asked, temperature: float) -> NDArray[np.float64]:
    """log p - log ref of each answer, summed over its tokens; the mean is the divergence without bias."""
    found: list[Tensor] = []
    for part in asked.chunks():
        logits_BSV = reference.logits(part["tokens"]) / temperature
        targets = part["targets"].to(logits_BSV.device)
        logs = token_log_probabilities(logits_BSV.transpose(0, 1), targets).cpu()
        found.append((k1(part["sampled"], logs) * part["answers"]).sum(1))
    return torch.cat(found).double().numpy()
