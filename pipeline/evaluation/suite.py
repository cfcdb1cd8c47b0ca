"""What the models of a recipe are asked, beside the tasks of suites: the one place that tells them apart.

decoder            loss on documents, prompts to go on from or to answer
encoder            loss on hidden tokens, blanks to fill in
encoder_decoder    loss on hidden tokens, blanks to fill in, prompts to answer
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from data_prep.contract.dataset import Dataset
from pipeline.config import EvaluationConfig
from pipeline.evaluation import hidden, perplexity
from pipeline.evaluation.samples import (
    Prompt,
    answer,
    blanks,
    given,
    instructions,
    openings,
)
from pipeline.evaluation.scoring import LanguageModel

Figures = dict[str, float]
Loss = Callable[[LanguageModel], Figures]


@dataclass(frozen=True)
class EvalSuite:
    """The same text for every model."""

    config: EvaluationConfig
    validation: dict[str, Any]
    """What the loss is measured on, with what a unigram model scores there."""
    loss: Loss
    prompts: list[Prompt]

    def answers(self, model: LanguageModel, tuned: bool) -> list[str]:
        """What a model makes of each prompt."""
        return answer(model, self.prompts, tuned, self.config.eval.generated_tokens, self.config.seed)


def make_suite(config: EvaluationConfig, data: Dataset) -> EvalSuite:
    """What a recipe asks; `InputError` where the validation split has nothing to ask about."""
    decoder = config.model.architecture == "decoder"
    validation, loss = _on_documents(config, data) if decoder else _on_hidden(config, data)
    return EvalSuite(config, validation, loss, _prompts(config, data))


def _on_documents(config: EvaluationConfig, data: Dataset) -> tuple[dict[str, Any], Loss]:
    length, most = config.data.sequence_length, config.eval.validation_tokens
    held = perplexity.held_out(data, "validation", length, config.seed, most)
    about = perplexity.describe(data, held) | {"unigram": perplexity.unigram_loss(data, held)}
    return about, partial(perplexity.model_loss, held=held)


def _on_hidden(config: EvaluationConfig, data: Dataset) -> tuple[dict[str, Any], Loss]:
    held = hidden.hidden(config, data)
    about = hidden.describe(config, data, held) | {"unigram": hidden.unigram_loss(config, data, held)}
    return about, partial(hidden.model_loss, held=held)


def _prompts(config: EvaluationConfig, data: Dataset) -> list[Prompt]:
    """The recipe's prompts, else a few made of held-out data."""
    if config.eval.prompts:
        return given(config, data)
    if config.model.architecture == "decoder":
        return [*instructions(data), *openings(data)]
    asked = instructions(data) if config.can_answer else []
    return [*asked, *blanks(config, data)]
