"""Answers that a model gives in its own words, in batches of prompts of similar length."""

from collections.abc import Collection, Sequence

from pipeline.evaluation.scoring import LanguageModel, batches_by_length
from pipeline.generation.model import Prompts
from pipeline.generation.sampling import Sampling, generate
from pipeline.prompting.text import stop_ids


def answer_texts(
    model: LanguageModel,
    prompts: Prompts,
    max_tokens: int,
    stops: Sequence[str] = (),
    sampling: Sampling | None = None,
    chat: bool = False,
) -> list[tuple[str, int]]:
    """What follows each prompt, up to the first of the texts that stop it, and how many tokens that took."""
    sampling = sampling or Sampling(temperature=0.0)
    vocabulary = model.vocabulary
    ends: Collection[int] = stop_ids(vocabulary, chat)
    found: list[tuple[str, int]] = [("", 0)] * len(prompts)

    def finished(ids: list[int]) -> bool:
        return any(stop in vocabulary.decode(ids) for stop in stops)

    for batch in batches_by_length([len(prompt) + max_tokens for prompt in prompts]):
        some = [prompts[index] for index in batch]
        answers = generate(model, some, max_tokens, sampling, ends, finished if stops else None)
        for index, ids in zip(batch, answers, strict=True):
            found[index] = (until(vocabulary.decode(ids), stops), len(ids))
    return found


def until(text: str, stops: Sequence[str]) -> str:
    """The text before the first of the texts that stop it.

    >>> until("Paris. Then\\n", ["\\n", "."])
    'Paris'
    """
    return text[: min([len(text), *(place for stop in stops if (place := text.find(stop)) >= 0)])]
