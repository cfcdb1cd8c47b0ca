"""Tasks whose answers come behind a chain of thought: questions to records by a way of reasoning.

Examples are the task's few-shot examples with their `rationale`, the same for all questions of a draw.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.evaluation.chains.asking import Reply, Way
from pipeline.evaluation.chains.auto import auto_chains
from pipeline.evaluation.chains.voting import self_consistency
from pipeline.evaluation.chains.ways import Chain, Lengths, direct, few_shot, least_to_most, zero_shot
from pipeline.evaluation.scoring import Embedding
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
        self.prompt_tokens = self.tokens = 0
        """What everything that was asked has cost so far."""

    def __call__(
        self, prompts: Sequence[str], max_tokens: int, stops: Sequence[str] = (), draw: int | None = None
    ) -> list[Reply]:
        """What follows each prompt, greedily, or drawn by a number."""
        longest = self.model.config.context_length
        room = longest if has_encoder(self.model) else max(1, longest - max_tokens)
        whole = [prompt_ids(self.model, one, chat=False) for one in prompts]
        ids = [one[-room:] for one in whole]
        how = self.how
        sampling = GREEDY if draw is None else Sampling(how.temperature, how.top_k, seed=self.seed + draw)
        answers = answer_texts(self.model, ids, max_tokens, stops, sampling)
        self.prompt_tokens += sum(map(len, ids))
        self.tokens += sum(tokens for _, tokens in answers)
        return [
            Reply(text, len(one), tokens, len(one) < len(before))
            for before, one, (text, tokens) in zip(whole, ids, answers, strict=True)
        ]


def reason(sitting: Sitting, questions: Sequence[Question], encoder: Encoder, run: str) -> list[Record]:
    """Ask a model some questions of a sitting by the task's way of reasoning.

    What it costs to find examples is shared by all questions of the sitting.
    """
    task, how = sitting.task, sitting.task.chain
    assert how is not None
    ask = ModelAsk(encoder, how, sitting.seed)
    shown = sitting.examples(sitting.questions[0])
    way = way_of(how, shown, sitting, ask)
    read, said = (one / len(sitting.questions) for one in (ask.prompt_tokens, ask.tokens))
    solved = way([one.context for one in questions], ask)
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
                    "prompt_tokens": one.prompt_tokens + read,
                    "generated_tokens": one.tokens + said,
                },
                "shown": len(shown),
                "cut": one.cut,
                "generated_tokens": one.tokens,
                "chain": one.chain,
                "votes": list(one.votes),
            }
        )
    return found


def way_of(how: Chains, shown: Sequence[Question], sitting: Sitting, ask: ModelAsk) -> Way:
    """The way of a task's settings; with several paths their vote."""
    lengths = Lengths(how.chain_tokens, how.answer_tokens)
    chains = [Chain(one.context, one.rationale, one.references[0]) for one in shown]
    if how.way == "direct":
        way = direct(how.kind, lengths, chains)
    elif how.way == "few_shot":
        way = few_shot(how.kind, chains, lengths)
    elif how.way == "auto":
        way = few_shot(how.kind, found_examples(how, sitting, ask), lengths)
    elif how.way == "least_to_most":
        apart = [Chain(one.context, one.decomposition, "") for one in shown]
        way = least_to_most(how.kind, apart, chains, lengths, how.parts)
    else:
        way = zero_shot(how.kind, lengths)
    return self_consistency(way, how.paths) if how.paths > 1 else way


def found_examples(how: Chains, sitting: Sitting, ask: ModelAsk) -> list[Chain]:
    """Examples that nobody wrote: of the rows that examples are drawn from, clustered by the model's own mean
    hidden states, one of each cluster with the model's own chain.
    """
    assert isinstance(ask.model, Embedding), "runs are asked, and they have hidden states"
    asked = [one.context for one in sitting.pool]
    rows = [prompt_ids(ask.model, one, chat=False)[-ask.model.config.context_length :] for one in asked]
    vectors = np.asarray(ask.model.embed(rows).double().cpu())
    lengths = Lengths(how.chain_tokens, how.answer_tokens)
    return auto_chains(how.kind, asked, vectors, how.clusters, ask, sitting.seed, lengths)
