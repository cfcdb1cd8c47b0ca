"""Tasks whose answers come behind a chain of thought: questions to records by a way of reasoning.

Examples are the task's few-shot examples with their `rationale`, the same for all questions of a draw.
"""

from collections.abc import Sequence

from pipeline.evaluation.chains.asking import Reply, Way
from pipeline.evaluation.chains.voting import self_consistency
from pipeline.evaluation.chains.ways import Chain, Lengths, direct, few_shot, zero_shot
from pipeline.evaluation.tasks.answers import answer_texts
from pipeline.evaluation.tasks.encoding import Encoder
from pipeline.evaluation.tasks.extraction import same
from pipeline.evaluation.tasks.prompts import Sitting
from pipeline.evaluation.tasks.questions import Question
from pipeline.evaluation.tasks.records import Record
from pipeline.evaluation.tasks.settings import Chains
from pipeline.generation.model import has_encoder
from pipeline.generation.sampling import GREEDY, Sampling
from pipeline.prompting.text import prompt_ids


class ModelAsk:
    """Puts prompts to a model; those that are too long lose their beginning."""

    def __init__(self, encoder: Encoder, how: Chains, seed: int) -> None:
        self.model, self.how, self.seed = encoder.model, how, seed

    def __call__(
        self, prompts: Sequence[str], max_tokens: int, stops: Sequence[str] = (), draw: int | None = None
    ) -> list[Reply]:
        """What follows each prompt, greedily, or drawn by a number."""
        longest = self.model.config.context_length
        room = longest if has_encoder(self.model) else max(1, longest - max_tokens)
        ids = [prompt_ids(self.model, one, chat=False)[-room:] for one in prompts]
        how = self.how
        sampling = GREEDY if draw is None else Sampling(how.temperature, how.top_k, seed=self.seed + draw)
        answers = answer_texts(self.model, ids, max_tokens, stops, sampling)
        return [Reply(text, len(one), tokens) for one, (text, tokens) in zip(ids, answers, strict=True)]


def reason(sitting: Sitting, questions: Sequence[Question], encoder: Encoder, run: str) -> list[Record]:
    """Ask a model some questions of a sitting by the task's way of reasoning."""
    task, how = sitting.task, sitting.task.chain
    assert how is not None
    shown = sitting.examples(questions[0])
    chains = [Chain(one.context, one.rationale, one.references[0]) for one in shown]
    solved = way_of(how, chains)([one.context for one in questions], ModelAsk(encoder, how, sitting.seed))
    found = []
    for question, one in zip(questions, solved, strict=True):
        right = float(same(one.answer, question.references, task.extract))
        found.append(
            {
                "run": run,
                "task": task.task,
                "shots": sitting.shots,
                "draw": sitting.draw,
                "number": question.number,
                "prompt": question.context,
                "text": one.chain,
                "answer": one.answer,
                "references": list(question.references),
                "right": [],
                "score": right,
                "scores": {
                    "exact_match": right,
                    "prompt_tokens": float(one.prompt_tokens),
                    "generated_tokens": float(one.tokens),
                },
                "shown": len(shown),
                "cut": False,
                "generated_tokens": one.tokens,
                "chain": one.chain,
            }
        )
    return found


def way_of(how: Chains, chains: Sequence[Chain]) -> Way:
    """The way of a task's settings; with several paths their vote."""
    lengths = Lengths(how.chain_tokens, how.answer_tokens)
    if how.way == "direct":
        way = direct(how.kind, lengths, chains)
    elif how.way == "few_shot":
        way = few_shot(how.kind, chains, lengths)
    else:
        way = zero_shot(how.kind, lengths)
    return self_consistency(way, how.paths) if how.paths > 1 else way
