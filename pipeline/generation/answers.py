"""Answers as a policy gives them: the ids with the one that ended them, and the log-probability of each."""

from collections.abc import Collection
from dataclasses import dataclass, field

from torch import Tensor

from pipeline.generation.model import GenerativeModel, Prompts
from pipeline.generation.sampling import Sampling, drawn


@dataclass
class Answer:
    tokens: list[int] = field(default_factory=list)
    """Its ids, the one that ended it among them."""
    logs: list[float] = field(default_factory=list)
    """Log-probability of each, of the distribution at the temperature; at 0 of the plain one."""
    ended: bool = False
    """Whether it came to its end, and not to the most tokens."""


def answers(
    model: GenerativeModel,
    prompts: Prompts,
    max_tokens: int,
    sampling: Sampling,
    stop_ids: Collection[int],
    draws: Tensor,
) -> list[Answer]:
    """An answer to each prompt, all at once; `draws` [B, max_tokens] are those of `streams`.

    What is drawn from has no filter: with one, log-probabilities would not be the policy's.
    """
    assert not sampling.top_k
    assert sampling.top_p == 1.0
    found = [Answer() for _ in prompts]
    for going, chosen, logits_BV in drawn(model, prompts, max_tokens, sampling, stop_ids, draws):
        logs_BV = (logits_BV / (sampling.temperature or 1.0)).log_softmax(1)
        for place, (index, token) in enumerate(zip(going, chosen, strict=True)):
            found[index].tokens.append(token)
            found[index].logs.append(float(logs_BV[place, token]))
            found[index].ended = token in stop_ids
    return found
