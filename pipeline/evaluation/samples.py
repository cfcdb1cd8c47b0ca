"""Generations of several models side by side, each prompted in its own way."""

from dataclasses import dataclass
from typing import Any

from data_prep.contract.dataset import Dataset
from pipeline.config import EvalConfig
from pipeline.evaluation.scoring import LanguageModel
from pipeline.generation.generate import Sampling, generate
from pipeline.tuning.chat import ChatTemplate, Message
from pipeline.tuning.instructions import dataset_pairs

PROMPTS_OF_EACH_KIND = 3
DOCUMENT_START = 24
"""Tokens of a held-out document that make a prompt."""
TEMPERATURE, TOP_P = 0.7, 0.95


@dataclass(frozen=True)
class Prompt:
    """A prompt, where it comes from, and what a person answered where that is known."""

    text: str
    source: str
    reference: str = ""


def choose_prompts(config: EvalConfig, dataset: Dataset) -> list[Prompt]:
    """The recipe's prompts, else a few held-out instructions and beginnings of held-out documents."""
    if config.prompts:
        return [Prompt(text, "recipe") for text in config.prompts]
    pairs = [one for one in dataset_pairs(dataset, "validation") if len(one) == 2]
    instructions = [Prompt(one[0].content, "held-out instruction", one[1].content) for one in _spread(pairs)]
    documents = [document for block in dataset.blocks("validation") for document in block.documents()]
    longer = [one for one in documents if len(one) > 2 * DOCUMENT_START]
    decode = dataset.vocabulary.decode
    openings = [
        Prompt(
            decode(one[:DOCUMENT_START].tolist()),
            "held-out document",
            decode(one[DOCUMENT_START : 3 * DOCUMENT_START].tolist()),
        )
        for one in _spread(longer)
    ]
    return instructions + openings


def _spread(items: list[Any]) -> list[Any]:
    """A few of the items, evenly spread."""
    step = max(1, len(items) // PROMPTS_OF_EACH_KIND)
    return items[::step][:PROMPTS_OF_EACH_KIND]


def answer(model: LanguageModel, prompts: list[Prompt], chat: bool, max_tokens: int, seed: int) -> list[str]:
    """What the model says to each prompt: a tuned one (`chat`) answers, a pretrained one goes on."""
    vocabulary, template = model.vocabulary, ChatTemplate(model.vocabulary)
    most = max(1, model.config.data.sequence_length - max_tokens)
    if chat:
        ids = [template.prompt([Message("user", prompt.text)]) for prompt in prompts]
    else:
        ids = [[vocabulary.eos, *vocabulary.encode(prompt.text)] for prompt in prompts]
    stop = {vocabulary.eos, template.end}
    cut = [one[-most:] for one in ids]
    answers = generate(model, cut, max_tokens, Sampling(TEMPERATURE, top_p=TOP_P, seed=seed), stop)
    return [vocabulary.decode(one) for one in answers]
