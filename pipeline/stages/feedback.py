"""The kind of stage that compares a run's answers by what a critic thinks of them, and by nothing else.

pairs:     {kind: feedback, from: supervised, critic: critic, data: dataset}
preferred: {kind: reward, from: chat, data: pairs}

The label of a pair is the softmax over the critic's log-probabilities of (A) and (B), asked in both orders;
or, `by: critique`, what it says of each answer alone.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from data_prep.contract.receipt import Receipt
from data_prep.contract.report import Headline, Section, StageReport, Table, Text, percent
from data_prep.contract.settings import Settings
from data_prep.contract.stages import Notify, Stage
from pipeline.stages.constituted import CRITIC, Constituted, check_tokenizers, constitution_of, known
from pipeline.stages.files import PREFERENCES, TRAIN, VALIDATION, write_rows
from pipeline.stages.policies import FROM, HELD_OUT, PROMPTS, open_prompts
from pipeline.stages.training import find_start

if TYPE_CHECKING:
    from pipeline.preferences.asking import Asked
    from pipeline.preferences.constitution.feedback import Label, Pair


class FeedbackConfig(Settings):
    prompts: PositiveInt = 512
    """Most prompts."""
    held_out: PositiveInt = 64
    """Most prompts whose comparisons validate."""
    pairs: PositiveInt = 1
    """Pairs of answers to each prompt, every one compared by a principle that is drawn."""
    max_tokens: PositiveInt = 64
    """Most tokens of an answer."""
    temperature: PositiveFloat = 1.0
    """What the logits of answers are divided by."""
    by: Literal["comparison", "critique"] = "comparison"
    """What the critic is asked: to choose between two answers, in both orders; or about each alone, whose
    label is by the log-odds of the constitution's `kept` against `broken`."""
    least: float = Field(0.0, ge=0.0, lt=0.5)
    """Labels stay between this and 1 less this; 0.4 for critics that reason first, which are too sure."""


class Feedback(Constituted):
    """`feedback`: pairs of answers with how likely a critic says that the first is better."""

    name, gives = "feedback", PREFERENCES
    inputs = (FROM, CRITIC, PROMPTS, HELD_OUT)
    settings = FeedbackConfig
    artifacts = (TRAIN, VALIDATION)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Answer, ask the critic in both orders, write."""
        from pipeline.generation.load import load_model
        from pipeline.preferences.asking import ask
        from pipeline.preferences.constitution.feedback import labels, separate_labels

        settings, source, judge = settings_of(stage), stage.source("from"), stage.source("critic")
        assert source is not None
        check_tokenizers(stage, ("from", "critic"))
        start, run = find_start(source)
        model = load_model(start)
        critic = load_model(find_start(judge)[0]) if judge else model
        prompts = open_prompts(stage, model, settings.max_tokens, settings.held_out)
        counts: dict[str, Any] = dict(prompts.counts)
        for number, (name, some) in enumerate(
            {TRAIN: prompts.train[: settings.prompts], VALIDATION: prompts.validation}.items()
        ):
            notify(f"{stage.name}: {2 * settings.pairs} answers of {run.name} to each of {len(some)} prompts")
            asked = ask(
                model, some, 2 * settings.pairs, settings.max_tokens, settings.temperature, stage.seed
            )
            pairs = paired(stage, asked, model.vocabulary, number)
            notify(f"{stage.name}: {len(pairs)} pairs, asked by {settings.by}")
            label = labels if settings.by == "comparison" else separate_labels
            found = label(critic, constitution_of(stage), pairs)
            counts |= write_rows(stage.folder, {name: map(Row(settings.least), pairs, found)})
            if name == TRAIN:
                counts |= {"consistency": consistency(found), "agreement": agreement(stage, pairs, found)}
        return counts

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """How consistent the critic is, and how often the rules agree with it."""
        consistent, agreed = receipt.counts["consistency"], receipt.counts["agreement"]
        rows = [
            [
                name,
                f"{one['pairs']:,}",
                *(f"{one[key]:.3f}" for key in ("both", "one")),
                "{:.3f} to {:.3f}".format(*one["interval"]),
            ]
            for name, one in agreed.items()
        ]
        head = [
            "principle",
            "pairs that the rule decides",
            "both orders",
            "one order",
            "95 % interval of both",
        ]
        orders = (
            f"The critic prefers the same answer in both orders in {percent(consistent['same'], 1)} of the "
            f"pairs, and is moved by the order alone by {consistent['moved']:.2f} on average."
            if receipt.config["by"] == "comparison"
            else "The critic was asked about each answer alone, so labels have no order."
        )
        words = Text(
            f"{orders} The rules that are the measure of the audit decide nothing here; the table says how "
            "often the critic's label is on the side of the rule where one of two answers breaks the "
            "principle and the other does not."
        )
        headline = Headline("pairs labelled by a model", f"{receipt.counts['train']:,}", folder.name)
        return StageReport(
            [headline],
            [Section("Feedback of a model", [words, Table(head, rows, frozenset({1, 2, 3}))])],
        )


def settings_of(stage: Stage) -> FeedbackConfig:
    """The stage's own keys."""
    assert isinstance(stage.settings, FeedbackConfig)
    return stage.settings


def paired(stage: Stage, asked: "Asked", vocabulary: Any, number: int) -> "list[Pair]":
    """Neighbouring answers to a prompt that are not the same, each pair with a principle that is drawn."""
    import numpy as np

    from pipeline.preferences.constitution.feedback import Pair

    principles = constitution_of(stage).principles
    texts = [vocabulary.decode(one.tokens).strip() for one in asked.given]
    drawn = np.random.default_rng([stage.seed, number]).integers(len(principles), size=len(texts) // 2)
    pairs = [
        Pair(asked.prompts[2 * place].messages, texts[2 * place], texts[2 * place + 1], principles[int(one)])
        for place, one in enumerate(drawn)
    ]
    return [pair for pair in pairs if pair.first != pair.second and pair.first and pair.second]


class Row:
    """A comparison as files of comparisons have it."""

    def __init__(self, least: float) -> None:
        self.least = least

    def __call__(self, pair: "Pair", label: "Label") -> dict[str, Any]:
        return {
            "prompt": [{"role": one.role, "content": one.content} for one in pair.prompt],
            "chosen": pair.first,
            "rejected": pair.second,
            "share": min(max(label.share, self.least), 1 - self.least),
            "principle": pair.principle.name,
            "orders": list(label),
        }


def consistency(found: "list[Label]") -> dict[str, float]:
    """How often both orders prefer the same answer, and how far apart the two labels are."""
    same = [(one.forward > 0.5) == (one.backward > 0.5) for one in found]
    moved = [abs(one.forward - one.backward) for one in found]
    return {"same": sum(same) / len(same), "moved": sum(moved) / len(moved)}


def agreement(stage: Stage, pairs: "list[Pair]", found: "list[Label]") -> dict[str, Any]:
    """How often labels are on the side of the rule, where it finds one of the two answers broken."""
    from pipeline.evaluation.intervals import wilson

    shares = {}
    for principle, breach in known(stage):
        decided = [
            (label.share > 0.5, label.forward > 0.5, breach.broken(pair.second))
            for pair, label in zip(pairs, found, strict=True)
            if pair.principle == principle and breach.broken(pair.first) != breach.broken(pair.second)
        ]
        if decided:
            both = sum(said == first for said, _, first in decided)
            one = sum(said == first for _, said, first in decided)
            count = len(decided)
            shares[principle.name] = {
                "pairs": count,
                "both": both / count,
                "one": one / count,
                "interval": list(wilson(both, count)),
            }
    return shares
