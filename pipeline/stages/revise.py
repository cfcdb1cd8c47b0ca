"""The kind of stage in which a critic finds fault with a run's answers and writes better ones to tune on.

revised:    {kind: revise, from: chat, critic: critic, data: dataset, rounds: 1}
supervised: {kind: instruct, from: chat, data: revised}
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveFloat, PositiveInt

from data_prep.contract.reading import read_jsonl
from data_prep.contract.receipt import Receipt
from data_prep.contract.report import Code, Headline, Section, StageReport, Table
from data_prep.contract.settings import Settings
from data_prep.contract.stages import Notify, Stage
from pipeline.stages.constituted import CRITIC, Constituted, check_tokenizers, constitution_of, known
from pipeline.stages.files import CONVERSATIONS, TRAIN, VALIDATION, write_rows
from pipeline.stages.policies import FROM, HELD_OUT, PROMPTS, open_prompts
from pipeline.stages.training import find_start

if TYPE_CHECKING:
    from pipeline.preferences.constitution.revising import Revised

EXAMPLES = 6


class ReviseConfig(Settings):
    prompts: PositiveInt = 512
    """Most prompts."""
    held_out: PositiveInt = 64
    """Most prompts whose conversations validate."""
    rounds: int = Field(1, ge=1, le=16)
    """How often each answer is revised, every time by a principle that is drawn."""
    max_tokens: PositiveInt = 64
    """Most tokens of an answer, of a critique and of a revision."""
    temperature: PositiveFloat = 1.0
    """What the logits of answers are divided by."""
    critic_temperature: PositiveFloat = 1.0
    """What those of critiques and revisions are divided by."""


class Revise(Constituted):
    """`revise`: answers of a run, a critique of each by a principle, and what becomes of it."""

    name, gives = "revise", CONVERSATIONS
    inputs = (FROM, CRITIC, PROMPTS, HELD_OUT)
    settings = ReviseConfig
    artifacts = (TRAIN, VALIDATION)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Answer, criticise, revise, write."""
        from pipeline.generation.load import load_model
        from pipeline.preferences.asking import ask
        from pipeline.preferences.constitution.revising import Critic

        settings, source = settings_of(stage), stage.source("from")
        assert source is not None
        check_tokenizers(stage, ("from", "critic"))
        start, run = find_start(source)
        model = load_model(start)
        judge = stage.source("critic")
        critic_model = load_model(find_start(judge)[0]) if judge else model
        critic = Critic(
            critic_model, constitution_of(stage), settings.max_tokens, settings.critic_temperature
        )
        prompts = open_prompts(stage, model, settings.max_tokens, settings.held_out)
        counts: dict[str, Any] = dict(prompts.counts)
        for name, some in {TRAIN: prompts.train[: settings.prompts], VALIDATION: prompts.validation}.items():
            notify(
                f"{stage.name}: {settings.rounds} revisions of {run.name}'s answers to {len(some)} prompts"
            )
            asked = ask(model, some, 1, settings.max_tokens, settings.temperature, stage.seed)
            texts = [model.vocabulary.decode(one.tokens).strip() for one in asked.given]
            found = critic.revise([one.messages for one in some], texts, settings.rounds, stage.seed)
            kept = [one for one in found if one.ended and one.revision]
            counts |= write_rows(stage.folder, {name: map(row, kept)})
            counts[f"not_ended_{name.removesuffix('.jsonl')}"] = len(found) - len(kept)
            if name == TRAIN:
                counts |= broken_before_and_after(stage, kept)
        return counts

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """What became of broken answers, and some of them."""
        rows = [
            [Code(row["answer"]), row["principle"], row["critique"], Code(row["messages"][-1]["content"])]
            for _, row in list(read_jsonl(folder / TRAIN))[:EXAMPLES]
        ]
        examples = Table(["answer", "principle", "critique", "revision"], rows)
        figures = Table(
            ["answers that break it", "before", "after its revision"],
            [
                [name, f"{before:.1%}", f"{after:.1%}"]
                for name, (before, after) in receipt.counts["broken"].items()
            ],
            frozenset({1, 2}),
        )
        headline = Headline("answers revised", f"{receipt.counts['train']:,}", folder.name)
        return StageReport([headline], [Section("Critiques and revisions", [figures, examples])])


def settings_of(stage: Stage) -> ReviseConfig:
    """The stage's own keys."""
    assert isinstance(stage.settings, ReviseConfig)
    return stage.settings


def row(one: "Revised") -> dict[str, Any]:
    """A conversation to tune on, with how it came about."""
    messages = [{"role": turn.role, "content": turn.content} for turn in one.prompt]
    return {
        "messages": [*messages, {"role": "assistant", "content": one.revision}],
        "answer": one.answer,
        "principle": one.principle.name,
        "critique": one.critique,
    }


def broken_before_and_after(stage: Stage, found: "list[Revised]") -> dict[str, Any]:
    """Of the answers revised by a principle last, the shares that broke it before and do so after."""
    shares = {}
    for principle, breach in known(stage):
        own = [one for one in found if one.principle == principle]
        if own:
            before, after = (
                sum(breach.broken(text) for text in texts) / len(own)
                for texts in ([one.answer for one in own], [one.revision for one in own])
            )
            shares[principle.name] = [before, after]
    return {"broken": shares}
