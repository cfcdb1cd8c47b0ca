"""What the models of a recipe are asked, by their architecture: the one place that tells them apart.

decoder            loss on documents, multiple choice, prompts to go on from or to answer
encoder            loss on hidden tokens, blanks to fill in
encoder_decoder    loss on hidden tokens, multiple choice, blanks to fill in, prompts to answer
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from data_prep.contract.dataset import Dataset
from pipeline.config import EvaluationConfig
from pipeline.evaluation import hidden, perplexity
from pipeline.evaluation.choices import Ask, shot_curve
from pipeline.evaluation.questions import (
    QuestionSet,
    as_chat,
    as_damaged,
    as_spans,
    as_text,
    make_questions,
)
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
PLAIN: dict[str, Ask] = {
    "causal_lm": as_text,
    "prefix_lm": as_text,
    "span_corruption": as_spans,
    "denoising": as_damaged,
}
"""How a question is put to a model that knows its objective alone."""


@dataclass(frozen=True)
class EvalSuite:
    """The same questions for every model."""

    config: EvaluationConfig
    validation: dict[str, Any]
    """What the loss is measured on, with what a unigram model scores there."""
    loss: Loss
    task: QuestionSet | None
    """The multiple-choice task; None where a model has no answers to choose from."""
    prompts: list[Prompt]

    def figures(self, model: LanguageModel, tuned: bool) -> dict[str, Any]:
        """All figures of one model; a tuned one is asked in the chat template."""
        shots: list[dict[str, Any]] = []
        if self.task is not None and self.task.questions:
            ask = as_chat if tuned else PLAIN[self.config.objective.kind]
            shots = shot_curve(model, self.task, self.config.eval.shots, ask)
        return {"tuned": tuned, "validation": self.loss(model), "shots": shots}

    def answers(self, model: LanguageModel, tuned: bool) -> list[str]:
        """What a model makes of each prompt."""
        return answer(model, self.prompts, tuned, self.config.eval.generated_tokens, self.config.seed)


def make_suite(config: EvaluationConfig, data: Dataset) -> EvalSuite:
    """The questions of a recipe; `InputError` where the validation split has nothing to ask about."""
    settings, decoder = config.eval, config.model.architecture == "decoder"
    validation, loss = _on_documents(config, data) if decoder else _on_hidden(config, data)
    task = None
    if config.can_answer:
        task = make_questions(data, settings.questions, settings.choices, max(settings.shots), config.seed)
    return EvalSuite(config, validation, loss, task, _prompts(config, data))


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
