"""Ways to an answer: at once, in a chain of thought behind examples or a trigger, by easier questions first.

Prompts are the published ones: `Q: ... A: ...`, the triggers of Kojima et al. (2022), appendix A.5. Each
function here makes a `Way`; none knows a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.evaluation.chains.asking import Ask, Reply, Solved, Way
from pipeline.evaluation.chains.finding import Kind, find

STEP_BY_STEP = "Let's think step by step."
ANSWER = "The answer is"
SUBQUESTIONS = "To answer this question, we first need to know the answers to:"
BREAK = "\nQ:"
"""Where a model begins a question of its own."""
EXPECTED: dict[Kind, str] = {
    "number": "the answer (arabic numerals) is",
    "yes_no": "the answer (Yes or No) is",
    "letter": "among A through E, the answer is",
    "letters": "the answer is",
    "text": "the answer is",
}
"""What asks for an answer of each kind; direct prompts begin it with a capital."""


@dataclass(frozen=True)
class Lengths:
    """Most tokens of a chain, and of an answer behind one."""

    chain: int = 128
    answer: int = 32


@dataclass(frozen=True)
class Chain:
    """An example: a question, how one gets to its answer, and the answer."""

    question: str
    rationale: str
    answer: str

    @property
    def text(self) -> str:
        """As it stands before a question."""
        return f"Q: {self.question}\nA: {self.rationale} {ANSWER} {self.answer}.\n\n"


def direct(kind: Kind, lengths: Lengths = Lengths(), examples: Sequence[Chain] = ()) -> Way:
    """The answer at once; behind examples without their reasoning, or behind the words that ask for it."""
    before = "".join(f"Q: {one.question}\nA: {ANSWER} {one.answer}.\n\n" for one in examples)
    trigger = ANSWER if examples else _capital(EXPECTED[kind])

    def way(questions: Sequence[str], ask: Ask) -> list[Solved]:
        prompts = [f"{before}Q: {one}\nA: {trigger}" for one in questions]
        replies = ask(prompts, lengths.answer, [BREAK])
        return [Solved(find(one.text, kind), one.text).after(one) for one in replies]

    return way


def few_shot(kind: Kind, examples: Sequence[Chain], lengths: Lengths = Lengths()) -> Way:
    """A chain behind examples that reason, and the answer in its last sentence."""
    before = "".join(one.text for one in examples)

    def way(questions: Sequence[str], ask: Ask) -> list[Solved]:
        replies = ask([f"{before}Q: {one}\nA:" for one in questions], lengths.chain, [BREAK])
        return [Solved(find(one.text, kind, ANSWER), one.text).after(one) for one in replies]

    return way


def zero_shot(kind: Kind, lengths: Lengths = Lengths(), trigger: str = STEP_BY_STEP) -> Way:
    """A chain behind a trigger, then the answer behind the chain."""

    def way(questions: Sequence[str], ask: Ask) -> list[Solved]:
        prompts = [f"Q: {one}\nA: {trigger}" for one in questions]
        chains = ask(prompts, lengths.chain, [BREAK])
        asked = [
            f"{prompt}{chain.text}\nTherefore, {EXPECTED[kind]}"
            for prompt, chain in zip(prompts, chains, strict=True)
        ]
        replies = ask(asked, lengths.answer, [BREAK])
        return [
            Solved(find(reply.text, kind), f"{trigger}{chain.text}").after(chain, reply)
            for chain, reply in zip(chains, replies, strict=True)
        ]

    return way


def least_to_most(
    kind: Kind,
    decompositions: Sequence[Chain],
    examples: Sequence[Chain],
    lengths: Lengths = Lengths(),
    most: int = 8,
) -> Way:
    """A question is taken apart, then its parts are answered in turn, each behind those before it.

    `decompositions` show how (Zhou et al. 2022): the rationale lists the easier questions, one a line, and
    their answers do not matter. The question itself comes last, behind at most `most` easier ones.
    """
    apart = "".join(f"Q: {one.question}\nA: {SUBQUESTIONS}\n{one.rationale}\n\n" for one in decompositions)
    before = "".join(one.text for one in examples)

    def way(questions: Sequence[str], ask: Ask) -> list[Solved]:
        prompts = [f"{apart}Q: {one}\nA: {SUBQUESTIONS}\n" for one in questions]
        parts = ask(prompts, lengths.chain, ["\n\n", BREAK])
        solved = [Solved("", "").after(one) for one in parts]
        left = [[*easier(one.text)[:most], whole] for one, whole in zip(parts, questions, strict=True)]
        said = ["" for _ in questions]
        while going := [index for index, some in enumerate(left) if some]:
            asked = [f"{before}{said[index]}Q: {left[index][0]}\nA:" for index in going]
            for index, reply in zip(going, ask(asked, lengths.chain, [BREAK]), strict=True):
                said[index] += f"Q: {left[index].pop(0)}\nA:{reply.text.rstrip()}\n\n"
                solved[index] = _answered(solved[index], reply, said[index], kind)
        return solved

    return way


def _answered(solved: Solved, reply: Reply, chain: str, kind: Kind) -> Solved:
    """What is known after one more part: its answer is the question's, where no other follows."""
    return replace(solved, answer=find(reply.text, kind, ANSWER), chain=chain).after(reply)


def easier(text: str) -> list[str]:
    """The questions that a text lists, one a line.

    >>> easier('1. "How many apples?"\\n- How many pears?')
    ['How many apples?', 'How many pears?']
    """
    lines = [line.strip().lstrip("-*0123456789. ").strip('"') for line in text.splitlines()]
    return [line for line in lines if line]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
