"""From what a model found likely, or said, to a verdict on each question.

For choices, with log-likelihood l of a choice c behind its question (Brown et al. 2020, section 2.4):

    sum             l
    characters      l / characters of c         lm-evaluation-harness calls it acc_norm
    bytes           l / UTF-8 bytes of c        acc_bytes there
    tokens          l / tokens of c
    unconditional   l - l of c behind what is neutral: their mutual information (Holtzman et al. 2021)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.evaluation.scoring import Scored
from pipeline.evaluation.tasks.encoding import Prompt
from pipeline.evaluation.tasks.extraction import extracted, same
from pipeline.evaluation.tasks.overlap import rouge, sentence_bleu, squad_f1
from pipeline.evaluation.tasks.questions import Question
from pipeline.evaluation.tasks.settings import Normalisation, Task


@dataclass(frozen=True)
class Verdict:
    """What came of one question."""

    answer: str
    """The choice taken, or what was found in the model's words."""
    score: float
    """By the task's own measure; 1 is right and 0 wrong where answers are right or wrong."""
    scores: dict[str, float] = field(default_factory=dict)
    """The same by other measures."""
    log_likelihoods: list[float] = field(default_factory=list)
    """Of each choice, or of the answer."""
    unconditional: list[float] = field(default_factory=list)
    greedy: list[bool] = field(default_factory=list)


def by_likelihood(
    task: Task, question: Question, prompt: Prompt, scored: Sequence[Scored], neutral: Sequence[Scored]
) -> Verdict:
    """Of choices the one with the highest likelihood counts, else whether the answer is likeliest of all."""
    logs = [one.log_likelihood for one in scored]
    greedy, before = [one.greedy for one in scored], [one.log_likelihood for one in neutral]
    if task.score == "choices":
        chosen = {
            name: best([value / size for value, size in zip(logs, sizes, strict=True)])
            for name, sizes in lengths(question, prompt).items()
        }
        if before:
            chosen["unconditional"] = best([one - old for one, old in zip(logs, before, strict=True)])
        scores = {f"right_by_{name}": float(place in question.right) for name, place in chosen.items()}
        place = chosen[task.normalise]
        answer = question.choices[place] if question.choices else question.contexts[place]
        return Verdict(answer, scores[f"right_by_{task.normalise}"], scores, logs, before, greedy)
    log, tokens = sum(logs), sum(len(one.answer) for one in prompt.choices)
    size = max(1, len(question.references[0].encode()))
    scores = {"nats": -log, "tokens": float(tokens), "bytes": float(size), "right": float(all(greedy))}
    score = -log / tokens if task.score == "loss" else scores["right"]
    return Verdict(question.references[0] if all(greedy) else "", score, scores, logs, before, greedy)


def lengths(question: Question, prompt: Prompt) -> dict[Normalisation, list[float]]:
    """What each choice's log-likelihood is divided by."""
    texts = question.choices or question.references * len(question.contexts)
    return {
        "sum": [1.0 for _ in texts],
        "characters": [max(1.0, float(len(one))) for one in texts],
        "bytes": [max(1.0, float(len(one.encode()))) for one in texts],
        "tokens": [float(len(one.answer)) for one in prompt.choices],
    }


def by_text(task: Task, question: Question, text: str) -> Verdict:
    """What is found in a generated text, compared with the references."""
    answer = extracted(text, task.extract)
    right = float(same(answer, question.references, task.extract))
    if task.score == "exact_match":
        return Verdict(answer, right, {"exact_match": right})
    if task.score == "f1":
        scores = {"f1": squad_f1(answer, question.references), "exact_match": right}
    elif task.score == "rouge":
        scores = rouge(answer, question.references) | {"exact_match": right}
        return Verdict(answer, scores["rougeL"], scores)
    else:
        scores = {"bleu": sentence_bleu(answer, question.references), "exact_match": right}
    return Verdict(answer, scores[task.score], scores)


def best(values: Sequence[float]) -> int:
    """Index of the highest value, the first one where several are."""
    return max(range(len(values)), key=lambda index: values[index])
