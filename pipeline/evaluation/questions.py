"""Multiple-choice questions made from held-out data, and how a model is asked them.

Where the dataset has instruction pairs, a question shows one held-out instruction and asks which of several
responses belongs to it (which summary belongs to this function?). Where it has none, a question shows the
beginning of a held-out document and asks which continuation belongs to it. The wrong choices are the answers
of other held-out examples. Few-shot examples come from the train split.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.contract.dataset import Dataset
from data_prep.contract.vocabulary import MASK, SENTINELS, Vocabulary
from pipeline.evaluation.scoring import Continuation
from pipeline.prompting.chat import ChatTemplate, Message
from pipeline.tuning.instructions import dataset_pairs

PASSAGE, CONTINUATION = 48, 16
"""Tokens of a passage and of each continuation, where there are no instruction pairs."""
EXAMPLE_DOCUMENTS = 1000
"""Few-shot passages are drawn from so many documents at the start of the train split."""


@dataclass(frozen=True)
class Example:
    """A question and its right answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Question:
    """An example with its choices; `right` is the index of the answer among them."""

    question: str
    choices: tuple[str, ...]
    right: int
    shots: tuple[Example, ...]
    """Examples to show before it; k shots are the last k."""

    @property
    def neutral(self) -> str:
        """The question without what it is about: the instruction before its first blank line, or nothing."""
        instruction, blank, _ = self.question.partition("\n\n")
        return instruction if blank else ""


@dataclass(frozen=True)
class QuestionSet:
    """Named questions of one kind."""

    name: str
    about: str
    questions: list[Question]


def make_questions(dataset: Dataset, questions: int, choices: int, shots: int, seed: int) -> QuestionSet:
    """At most `questions` questions from the validation split; fewer where it has fewer distinct answers."""
    pairs, examples = (_pairs(dataset, split) for split in ("validation", "train"))
    name, about = "which response", "which response belongs to this instruction?"
    if len(pairs) < choices or len(examples) < shots:
        pairs, examples = (_passages(dataset, split) for split in ("validation", "train"))
        name, about = "which continuation", "which continuation belongs to this passage?"
    random = np.random.default_rng([seed, *b"questions"])
    distinct = list({one.answer: one for one in pairs}.values())
    if len(distinct) < choices or len(examples) < shots:
        return QuestionSet(name, about, [])
    chosen = random.permutation(len(distinct))[:questions]
    return QuestionSet(
        name, about, [_question(int(i), distinct, examples, choices, shots, random) for i in chosen]
    )


def _question(
    index: int, pool: list[Example], examples: list[Example], choices: int, shots: int, random: Any
) -> Question:
    one = pool[index]
    others = random.choice(len(pool) - 1, size=choices - 1, replace=False)
    answers = [pool[int(other) + (int(other) >= index)].answer for other in others]
    right = int(random.integers(choices))
    answers.insert(right, one.answer)
    shown = random.choice(len(examples), size=shots, replace=False)
    return Question(one.question, tuple(answers), right, tuple(examples[int(i)] for i in shown))


def _pairs(dataset: Dataset, split: str) -> list[Example]:
    """Single-turn instruction pairs as examples."""
    return [
        Example(one[0].content, one[1].content.strip())
        for one in dataset_pairs(dataset, split)
        if len(one) == 2 and one[1].content.strip()
    ]


def _passages(dataset: Dataset, split: str) -> list[Example]:
    """The first tokens of documents that are long enough, and the tokens that follow."""
    found: list[Example] = []
    decode = dataset.vocabulary.decode
    for block in dataset.blocks(split):
        for document in block.documents():
            if len(document) >= PASSAGE + CONTINUATION:
                passage, rest = document[:PASSAGE], document[PASSAGE : PASSAGE + CONTINUATION]
                found.append(Example(decode(passage.tolist()), decode(rest.tolist())))
        if len(found) >= EXAMPLE_DOCUMENTS:
            break
    return found


def as_text(template: ChatTemplate, examples: Sequence[Example], question: str, answer: str) -> Continuation:
    """The question as a pretrained model reads it: plain text, an example being a document of its own."""
    vocabulary = template.vocabulary
    context = [vocabulary.start, *_shown(vocabulary, examples)]
    asked = vocabulary.encode(f"{question}\n")
    whole = vocabulary.encode(f"{question}\n{answer}")
    return _split(context, asked, whole)


def as_spans(template: ChatTemplate, examples: Sequence[Example], question: str, answer: str) -> Continuation:
    """The question as a model of span corruption reads it: the answer is a span missing behind it."""
    vocabulary = template.vocabulary
    sentinel = vocabulary.id_of(SENTINELS[0])
    context = [*_shown(vocabulary, examples), *vocabulary.encode(f"{question}\n"), sentinel, vocabulary.eos]
    return Continuation(context, [sentinel, *vocabulary.encode(answer), vocabulary.eos])


def as_damaged(
    template: ChatTemplate, examples: Sequence[Example], question: str, answer: str
) -> Continuation:
    """The question as a denoiser reads it: what is missing behind it is the end of the text it restores.

    The examples and the question are part of what it says, and as likely whatever the answer.
    """
    vocabulary = template.vocabulary
    before = [*_shown(vocabulary, examples), *vocabulary.encode(f"{question}\n")]
    context = [*before, vocabulary.id_of(MASK), vocabulary.eos]
    return Continuation(context, [*before, *vocabulary.encode(answer), vocabulary.eos])


def _shown(vocabulary: Vocabulary, examples: Sequence[Example]) -> list[int]:
    """Examples as documents of their own."""
    return [
        token
        for example in examples
        for token in (*vocabulary.encode(f"{example.question}\n{example.answer}"), vocabulary.eos)
    ]


def _split(context: list[int], asked: list[int], whole: list[int]) -> Continuation:
    """Cut where the answer begins: after the tokens that the question alone and with its answer share."""
    shared = 0
    while shared < min(len(asked), len(whole) - 1) and asked[shared] == whole[shared]:
        shared += 1
    return Continuation([*context, *whole[:shared]], whole[shared:])


def as_chat(template: ChatTemplate, examples: Sequence[Example], question: str, answer: str) -> Continuation:
    """The question as a tuned model reads it: examples are earlier turns, the answer ends with <|end|>."""
    turns = [
        message
        for example in examples
        for message in (Message("user", example.question), Message("assistant", example.answer))
    ]
    prompt = template.prompt([*turns, Message("user", question)])
    return Continuation(prompt, [*template.vocabulary.encode(answer), template.end])


def wilson(right: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927), which stays within 0 and 1 for small counts."""
    if total == 0:
        return 0.0, 1.0
    z, share = 1.959964, right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - reach), min(1.0, middle + reach)
