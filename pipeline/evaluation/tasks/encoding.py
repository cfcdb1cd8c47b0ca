"""Prompts to token ids, for a model of any kind: what it reads before an answer, and the answer.

A text and its answer are cut as one; white space between them belongs to the answer. A decoder has the start
of a document before them; behind an encoder both are what the objective makes of them. A tuned model may be
given instructions in its chat template.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.evaluation.prompt_forms import prompt_form
from pipeline.evaluation.scoring import Continuation, LanguageModel
from pipeline.evaluation.tasks.prompts import before, delimiter
from pipeline.evaluation.tasks.questions import Question
from pipeline.evaluation.tasks.settings import Task
from pipeline.generation.model import has_encoder
from pipeline.objectives.registry import objective_of
from pipeline.prompting.chat import ChatTemplate, Message
from pipeline.prompting.text import prompt_ids


@dataclass(frozen=True)
class Prompt:
    """One question as a model is asked it."""

    text: str
    """What stands before the answer, as text."""
    choices: list[Continuation]
    """Each answer whose likelihood is asked for, or the windows of a text whose loss is; none where an answer
    is generated."""
    ids: list[int]
    """What a generated answer follows; empty where none is."""
    shown: int
    """How many examples stand before the question: those that left room for it."""
    cut: bool
    """Whether the question by itself is too long, and lost its beginning."""


class Encoder:
    """Makes prompts for one model."""

    def __init__(self, model: LanguageModel, chat: bool) -> None:
        """With `chat`, instructions are given in the chat template."""
        self.model, self.chat = model, chat
        self.template = ChatTemplate(model.vocabulary)
        self.form = prompt_form(model.config, model.vocabulary)
        self.objective = objective_of(model.config.objective)
        self._last: tuple[str, list[int]] = ("", [])

    def prompt(self, task: Task, examples: Sequence[Question], question: Question) -> Prompt:
        """The question behind as many of its last examples as leave room for it and every answer."""
        for count in range(len(examples), -1, -1):
            shown = examples[len(examples) - count :]
            made = self._prompt(task, shown, question)
            if self._fits(task, made):
                return made
        kept = [Continuation(*self.form.cut(one.context, one.answer)) for one in made.choices]
        return Prompt(made.text, kept, made.ids[-self._room(task) :], 0, cut=True)

    def unconditional(self, task: Task, question: Question) -> list[Continuation]:
        """Every choice without the question, behind what is neutral."""
        neutral = Question(question.number, (question.neutral,), question.choices, question.right, ())
        made = self._prompt(task.model_copy(update={"description": ""}), (), neutral)
        return [Continuation(*self.form.cut(one.context, one.answer)) for one in made.choices]

    def _encoded(self, text: str) -> list[int]:
        """The ids of a text without white space at its end; the last ones are kept for further answers."""
        if text != self._last[0]:
            self._last = text, self.model.vocabulary.encode(text) if text else []
        return self._last[1]

    def _prompt(self, task: Task, examples: Sequence[Question], question: Question) -> Prompt:
        chat = self.chat and task.instruct
        pair = self._chat_pair if chat else self._text_pair
        answers = question.choices or question.references[:1]
        pairs = [(context, answer) for context in question.contexts for answer in answers]
        text = before(task, examples) + question.contexts[0]
        if task.score == "loss" and not text:
            return Prompt(text, self._windows(question.references[0]), [], 0, cut=False)
        if not task.generates:
            choices = [pair(task, examples, *one) for one in pairs]
            return Prompt(text, choices, [], len(examples), cut=False)
        context = question.contexts[0]
        ids = self._chat_prompt(task, examples, context) if chat else prompt_ids(self.model, text, chat=False)
        return Prompt(text, [], ids, len(examples), cut=False)

    def _text_pair(self, task: Task, examples: Sequence[Question], context: str, answer: str) -> Continuation:
        space = delimiter(task, context)
        whole = before(task, examples) + context
        read, said = split(
            self._encoded(whole.rstrip()), self.model.vocabulary.encode(whole + space + answer)
        )
        if has_encoder(self.model):
            return Continuation(*self.objective.asked(self.model.vocabulary, read, said))
        return Continuation([*self._start, *read], said)

    def _windows(self, text: str) -> list[Continuation]:
        """A text in windows that overlap by no prediction, as `pipeline.evaluation.perplexity` cuts."""
        vocabulary, length = self.model.vocabulary, self.model.config.context_length
        if not has_encoder(self.model):
            ids = [self._start[-1], *vocabulary.encode(text)]
            starts = range(0, len(ids) - 1, length)
            return [Continuation(ids[at : at + 1], ids[at + 1 : at + 1 + length]) for at in starts]
        said, most = vocabulary.encode(text), length - 2  # a sentinel before and an <eos> behind
        parts = [said[at : at + most] for at in range(0, len(said), most)]
        return [Continuation(*self.objective.asked(vocabulary, [], one)) for one in parts]

    def _chat_pair(self, task: Task, examples: Sequence[Question], context: str, answer: str) -> Continuation:
        said = [*self.model.vocabulary.encode(answer), self.template.end]
        return Continuation(self._chat_prompt(task, examples, context), said)

    def _chat_prompt(self, task: Task, examples: Sequence[Question], context: str) -> list[int]:
        """Examples are earlier turns."""
        turns = [
            message
            for one in examples
            for message in (Message("user", one.context), Message("assistant", one.references[0]))
        ]
        return self.template.prompt([*turns, Message("user", task.description + context)])

    @property
    def _start(self) -> list[int]:
        vocabulary = self.model.vocabulary
        return [vocabulary.eos] if vocabulary.frame is None else vocabulary.frame[0] or [vocabulary.start]

    def _fits(self, task: Task, made: Prompt) -> bool:
        if task.generates:
            return len(made.ids) <= self._room(task)
        return all(self.form.fits(one.context, one.answer) for one in made.choices)

    def _room(self, task: Task) -> int:
        """Tokens that a prompt may have where an answer is generated behind it."""
        longest = self.model.config.context_length
        return longest if has_encoder(self.model) else max(1, longest - task.generate.max_tokens)


def split(read: Sequence[int], whole: Sequence[int]) -> tuple[list[int], list[int]]:
    """A text and its answer apart, from the ids of the text alone and of both.

    They are parted behind the tokens that both have, so a token across the border is answer.

    >>> split([5, 6, 7], [5, 6, 9, 8])
    ([5, 6], [9, 8])
    """
    shared = 0
    while shared < min(len(read), len(whole) - 1) and read[shared] == whole[shared]:
        shared += 1
    return list(whole[:shared]), list(whole[shared:])
