"""Questions to records: prompts, what the model makes of them in batches, verdicts."""

from collections.abc import Sequence
from itertools import islice

from pipeline.evaluation.scoring import Continuation, Scored, score
from pipeline.evaluation.tasks.answers import answer_texts
from pipeline.evaluation.tasks.encoding import Encoder, Prompt
from pipeline.evaluation.tasks.prompts import Sitting
from pipeline.evaluation.tasks.questions import Question
from pipeline.evaluation.tasks.reasoning import reason
from pipeline.evaluation.tasks.records import Record
from pipeline.evaluation.tasks.verdicts import Verdict, by_likelihood, by_text
from pipeline.generation.sampling import Sampling


def ask(sitting: Sitting, questions: Sequence[Question], encoder: Encoder, run: str) -> list[Record]:
    """Ask a model some questions of a sitting."""
    task = sitting.task
    if task.chain is not None:
        return reason(sitting, questions, encoder, run)
    prompts = [encoder.prompt(task, sitting.examples(one), one) for one in questions]
    if task.generates:
        return _generated(sitting, questions, prompts, encoder, run)
    neutral = [
        encoder.unconditional(task, one) if task.normalise == "unconditional" and one.choices else []
        for one in questions
    ]
    items: list[Continuation] = [item for one in prompts for item in one.choices]
    before = [item for one in neutral for item in one]
    scores = iter(score(encoder.model, [*items, *before]))
    asked: list[list[Scored]] = [list(islice(scores, len(one.choices))) for one in prompts]
    unconditional = [list(islice(scores, len(one))) for one in neutral]
    return [
        record(sitting, run, question, prompt, by_likelihood(task, question, prompt, given, old))
        for question, prompt, given, old in zip(questions, prompts, asked, unconditional, strict=True)
    ]


def _generated(
    sitting: Sitting, questions: Sequence[Question], prompts: list[Prompt], encoder: Encoder, run: str
) -> list[Record]:
    task, how = sitting.task, sitting.task.generate
    sampling = Sampling(how.temperature, how.top_k, how.top_p, sitting.seed)
    ids, chat = [one.ids for one in prompts], encoder.chat and task.instruct
    answers = answer_texts(encoder.model, ids, how.max_tokens, how.stop, sampling, chat)
    return [
        record(sitting, run, question, prompt, by_text(task, question, text), text, tokens)
        for question, prompt, (text, tokens) in zip(questions, prompts, answers, strict=True)
    ]


def record(
    sitting: Sitting,
    run: str,
    question: Question,
    prompt: Prompt,
    verdict: Verdict,
    text: str = "",
    tokens: int = 0,
    chain: str = "",
) -> Record:
    """A row of the suite's file."""
    return {
        "run": run,
        "task": sitting.task.task,
        "shots": sitting.shots,
        "draw": sitting.draw,
        "number": question.number,
        "prompt": prompt.text,
        "prompt_tokens": prompt.ids or prompt.choices[0].context,
        "choices": list(question.choices or (question.contexts if question.right else ())),
        "choice_tokens": [one.answer for one in prompt.choices],
        "log_likelihoods": verdict.log_likelihoods,
        "unconditional": verdict.unconditional,
        "greedy": verdict.greedy,
        "text": text,
        "answer": verdict.answer,
        "references": list(question.references),
        "right": list(question.right),
        "score": verdict.score,
        "scores": verdict.scores,
        "shown": prompt.shown,
        "cut": prompt.cut,
        "generated_tokens": tokens,
        "chain": chain,
        "votes": [],
    }
