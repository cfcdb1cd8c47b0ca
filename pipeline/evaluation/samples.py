"""What several models say side by side: prompts to go on from or to answer, and blanks to fill in."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from data_prep.contract.cleaning import clean
from data_prep.contract.dataset import Dataset
from data_prep.contract.settings import InputError
from pipeline.config import EvaluationConfig
from pipeline.evaluation import blanks as blank
from pipeline.evaluation.scoring import LanguageModel
from pipeline.generation.model import has_encoder
from pipeline.generation.sampling import Sampling, generate
from pipeline.prompting.text import BLANK, prompt_ids, stop_ids
from pipeline.tuning.instructions import dataset_pairs

PROMPTS_OF_EACH_KIND = 3
BLANKS = 6
DOCUMENT_START = 24
"""Tokens of a held-out document that make a prompt; a text with blanks has twice as many."""
ADDED = 2
"""Reserved tokens around a text with blanks, at most."""
TEMPERATURE, TOP_P = 0.7, 0.95


@dataclass(frozen=True)
class Prompt:
    """A prompt, where it comes from, and what a person answered where that is known."""

    text: str
    source: str
    reference: str = ""
    blanks: tuple[int, ...] = ()
    """A text with blanks as the model reads it; empty where there is nothing to fill in."""


def given(config: EvaluationConfig, dataset: Dataset) -> list[Prompt]:
    """The recipe's prompts; texts that name blanks are to be filled in, and an encoder does nothing else."""
    texts = [clean(text) for text in config.eval.prompts]
    only_fills = not config.can_answer
    composed = [
        blank.composed(config.objective, dataset.vocabulary, text)
        if only_fills or (config.model.architecture != "decoder" and BLANK.search(text))
        else []
        for text in texts
    ]
    for text, ids in zip(texts, composed, strict=True):
        if len(ids) > config.data.sequence_length:
            raise InputError(
                f"eval.prompts: {text[:40]!r} has {len(ids)} tokens; the model reads at most "
                f"data.sequence_length {config.data.sequence_length}"
            )
    return [Prompt(text, "recipe", blanks=tuple(ids)) for text, ids in zip(texts, composed, strict=True)]


def instructions(dataset: Dataset) -> list[Prompt]:
    """A few held-out instructions."""
    pairs = [one for one in dataset_pairs(dataset, "validation") if len(one) == 2]
    some = _spread(pairs, PROMPTS_OF_EACH_KIND)
    return [Prompt(one[0].content, "held-out instruction", one[1].content) for one in some]


def openings(dataset: Dataset) -> list[Prompt]:
    """Beginnings of a few held-out documents."""
    decode = dataset.vocabulary.decode
    return [
        Prompt(
            decode(one[:DOCUMENT_START].tolist()),
            "held-out document",
            decode(one[DOCUMENT_START : 3 * DOCUMENT_START].tolist()),
        )
        for one in _documents(dataset, PROMPTS_OF_EACH_KIND)
    ]


def blanks(config: EvaluationConfig, dataset: Dataset) -> list[Prompt]:
    """Beginnings of a few held-out documents with blanks, as the recipe's objective makes them."""
    length = min(2 * DOCUMENT_START, config.data.sequence_length - ADDED)
    texts = [one[:length].tolist() for one in _documents(dataset, BLANKS)]
    made = blank.with_blanks(config.objective, dataset, texts, config.seed) if texts else []
    return [
        Prompt(blank.shown(dataset.vocabulary, ids), "held-out text with blanks", reference, tuple(ids))
        for ids, reference in made
    ]


def _documents(dataset: Dataset, count: int) -> list[NDArray[Any]]:
    documents = [document for block in dataset.blocks("validation") for document in block.documents()]
    return _spread([one for one in documents if len(one) > 2 * DOCUMENT_START], count)


def _spread(items: list[Any], count: int) -> list[Any]:
    """A few of the items, evenly spread."""
    step = max(1, len(items) // count)
    return items[::step][:count]


def answer(model: LanguageModel, prompts: list[Prompt], chat: bool, max_tokens: int, seed: int) -> list[str]:
    """What the model makes of each prompt, in order.

    Blanks are filled in with the likeliest words. Of other prompts a tuned model (`chat`) answers the
    instruction, and a pretrained one says what it takes to follow.
    """
    filled = [index for index, prompt in enumerate(prompts) if prompt.blanks]
    said = [index for index, prompt in enumerate(prompts) if not prompt.blanks]
    answers: dict[int, str] = {}
    if filled:
        texts = blank.fill(model, [prompts[index].blanks for index in filled], max_tokens)
        answers |= zip(filled, texts, strict=True)
    if said:
        texts = _say(model, [prompts[index].text for index in said], chat, max_tokens, seed)
        answers |= zip(said, texts, strict=True)
    return [answers[index] for index in range(len(prompts))]


def _say(model: LanguageModel, texts: list[str], chat: bool, max_tokens: int, seed: int) -> list[str]:
    vocabulary, longest = model.vocabulary, model.config.data.sequence_length
    most = longest if has_encoder(model) else max(1, longest - max_tokens)
    cut = [prompt_ids(model, text, chat)[-most:] for text in texts]
    sampling = Sampling(TEMPERATURE, top_p=TOP_P, seed=seed)
    answers = generate(model, cut, max_tokens, sampling, stop_ids(vocabulary, chat))
    return [vocabulary.decode(one) for one in answers]
