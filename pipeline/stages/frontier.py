"""The kind of stage that shows what policies won and what it cost: gold and proxy reward over the divergence.

frontier: {kind: frontier, of: [ppo, dpo], from: chat, reward: preferred, data: pairs, gold: {my_rule: 1}}

`gold` are rules that nothing was trained on directly; the proxy is the reward model. Every checkpoint that a
run has kept is a point of its curve; best-of-n of the reference is the baseline.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveFloat, PositiveInt

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.reading import read_json
from data_prep.contract.receipt import Receipt, write_atomic
from data_prep.contract.report import Headline, Line, Lines, Section, StageReport, Table, Text
from data_prep.contract.settings import Settings
from data_prep.contract.stages import RUN, Input, Kind, Notify, Stage
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.run_folder import checkpoint_folder, read_config, saved_steps
from pipeline.stages.policies import FROM, HELD_OUT, PROMPTS, open_prompts
from pipeline.stages.reward import REWARD
from pipeline.stages.training import find_start

if TYPE_CHECKING:
    from pipeline.generation.load import LoadedModel
    from pipeline.preferences.asking import Asked
    from pipeline.preferences.prompts import Prompt

RESULTS = "frontier.json"
BEST_OF = "best of n"


class FrontierConfig(Settings):
    gold: dict[str, float]
    """Weights of the rules that answers are judged by."""
    prompts: PositiveInt = 64
    """Held-out prompts."""
    best_of: int = Field(16, ge=2, le=1024)
    """Answers of the reference to each prompt; the reward model takes the best of 2, 4 and so on of them."""
    max_tokens: PositiveInt = 64
    """Most tokens of an answer."""
    temperature: PositiveFloat = 1.0
    """What logits are divided by."""


class Frontier(Kind):
    """`frontier`: curves of runs over their divergence from the run that they started from."""

    name, gives = "frontier", "figures"
    inputs = (Input("of", (RUN,), many=True), FROM, Input("reward", (REWARD,)), PROMPTS, HELD_OUT)
    settings = FrontierConfig
    artifacts = (RESULTS,)
    libraries = ("torch",)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Ask every checkpoint the same prompts."""
        from pipeline.generation.load import load_model
        from pipeline.preferences.asking import ask

        settings, start, reward = settings_of(stage), stage.source("from"), stage.source("reward")
        assert start is not None
        assert reward is not None
        reference, judge = load_model(find_start(start)[0]), open_judge(find_start(reward)[0])
        prompts = open_prompts(stage, reference, settings.max_tokens, settings.prompts).validation
        measure = Measure(stage, reference, judge, prompts)
        many = ask(
            reference, prompts, settings.best_of, settings.max_tokens, settings.temperature, stage.seed
        )
        found = {BEST_OF: measure.baseline(many)}
        for source in stage.inputs["of"]:
            _, run = find_start(source)
            found[source.label] = {}
            for step in saved_steps(run):
                notify(f"{stage.name}: {source.label}, step {step}")
                model = load_model(checkpoint_folder(run, step))
                given = ask(model, prompts, 1, settings.max_tokens, settings.temperature, stage.seed)
                found[source.label][str(step)] = measure.point(given)
        results = {"series": found, "prompts": len(prompts), "units": measure.units(many)}
        write_atomic(stage.folder / RESULTS, json.dumps(results, indent=1) + "\n")
        return {"prompts": len(prompts), "points": sum(map(len, found.values()))}

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """The table and both pictures."""
        return reported(folder, read_json(folder / RESULTS))


def settings_of(stage: Stage) -> FrontierConfig:
    """The stage's own keys."""
    assert isinstance(stage.settings, FrontierConfig)
    return stage.settings


def open_judge(path: Path) -> "LoadedModel":
    """A reward model from its checkpoint."""
    from pipeline.generation.load import find_checkpoint, open_model
    from pipeline.models.scalar import scalar

    checkpoint, run = find_checkpoint(path)
    return open_model(checkpoint, read_config(run), Vocabulary(run / TOKENIZER), head=scalar)


class Measure:
    """Points of policies on the same prompts."""

    def __init__(
        self, stage: Stage, reference: "LoadedModel", judge: "LoadedModel", prompts: "list[Prompt]"
    ) -> None:
        self.stage, self.settings = stage, settings_of(stage)
        self.reference, self.judge, self.prompts = reference, judge, prompts

    def _judged(self, asked: "Asked") -> tuple[Any, Any, list[str]]:
        """Gold and proxy rewards of answers, and the texts."""
        import numpy as np

        from pipeline.preferences.asking import scores
        from pipeline.preferences.rewards import weighted

        vocabulary, name = self.reference.vocabulary, self.stage.name
        gold, texts = weighted(self.settings.gold, name, vocabulary, asked.prompts, asked.given)
        return np.array(gold), scores(self.judge, asked), texts

    def point(self, asked: "Asked") -> dict[str, Any]:
        """One answer to each prompt."""
        from pipeline.preferences.asking import divergences

        gold, proxy, texts = self._judged(asked)
        kl = float(divergences(self.reference, asked, self.settings.temperature).mean())
        return self._point(kl, gold, float(proxy.mean()), texts, [one.ended for one in asked.given])

    def baseline(self, many: "Asked") -> dict[str, dict[str, Any]]:
        """The best of 1, 2, 4 and so on of the reference by the reward model; 1 is the reference itself."""
        from pipeline.preferences.frontier import best_of, best_of_divergence

        gold, proxy, texts = self._judged(many)
        shape = (len(self.prompts), self.settings.best_of)
        gold_PN, proxy_PN = gold.reshape(shape), proxy.reshape(shape)
        found, n = {}, 1
        while n <= self.settings.best_of:
            # What was chosen of the first n has the texts; the rewards are means over all draws of n.
            places = proxy_PN[:, :n].argmax(axis=1)
            rows = [prompt * shape[1] + int(place) for prompt, place in enumerate(places)]
            found[str(n)] = self._point(
                best_of_divergence(n),
                best_of(gold_PN, proxy_PN, n),
                float(best_of(proxy_PN, proxy_PN, n).mean()),
                [texts[row] for row in rows],
                [many.given[row].ended for row in rows],
            )
            n *= 2
        return found

    def units(self, many: "Asked") -> dict[str, list[float]]:
        """Mean and deviation of both rewards over the reference's answers."""
        gold, proxy, _ = self._judged(many)
        return {
            "gold": [float(gold.mean()), float(gold.std())],
            "proxy": [float(proxy.mean()), float(proxy.std())],
        }

    def _point(
        self, kl: float, gold: Any, proxy: float, texts: list[str], ended: list[bool]
    ) -> dict[str, Any]:
        from pipeline.preferences.frontier import Point, distinct, interval

        words = sum(len(text.split()) for text in texts) / len(texts)
        share = sum(ended) / len(ended)
        return asdict(Point(kl, interval(gold), proxy, words, distinct(texts), share))


def reported(folder: Path, results: dict[str, Any]) -> StageReport:
    """The last point of each run and the best of n as a table; gold over divergence, and both rewards."""
    series, rows = results["series"], []
    for name, points in series.items():
        base = name == BEST_OF
        shown = points.items() if base else list(points.items())[-1:]
        rows += [row(f"best of {key}" if base else f"{name}, step {key}", one) for key, one in shown]
    head = ["policy", "KL, nats", "gold", "95 % interval", "proxy", "words", "distinct-2", "ended"]
    table = Table(head, rows, frozenset(range(1, 8)))
    unit = results["units"]
    golds = [line(name, points, "gold", unit["gold"], spread=True) for name, points in series.items()]
    both = [
        line(f"{name}: {kind}", points, kind, unit[kind])
        for name, points in series.items()
        if name != BEST_OF
        for kind in ("gold", "proxy")
    ]
    axis, above = "KL from the reference, nats", "reward above the reference, its deviations"
    best = max((points[key]["gold"][0], f"{name} {key}") for name, points in series.items() for key in points)
    note = Text(
        f"{results['prompts']} held-out prompts. Best-of-n stands at the bound of its divergence. Where the "
        "proxy rises and gold falls, the reward model is optimised too far."
    )
    return StageReport(
        [Headline("best gold reward", f"{best[0]:.2f}", best[1])],
        [
            Section(
                "Reward over divergence",
                [
                    table,
                    note,
                    Lines(f"{folder.name}_gold", axis, f"gold {above}", golds),
                    Lines(f"{folder.name}_overoptimisation", axis, above, both),
                ],
            )
        ],
    )


def row(label: str, one: dict[str, Any]) -> list[str]:
    """A policy's row of the table."""
    mean, low, high = one["gold"]
    return [
        label,
        f"{one['kl']:.2f}",
        f"{mean:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{one['proxy']:.2f}",
        f"{one['length']:.1f}",
        f"{one['distinct']:.2f}",
        f"{one['ended']:.0%}",
    ]


def line(name: str, points: dict[str, Any], kind: str, unit: list[float], spread: bool = False) -> Line:
    """A curve of one reward in deviations of the reference's answers, by rising divergence."""
    mean, deviation = unit[0], unit[1] or 1.0
    ordered = sorted(points.values(), key=lambda one: one["kl"])
    golds = [[(value - mean) / deviation for value in one["gold"]] for one in ordered]
    heights = [(one["proxy"] - mean) / deviation for one in ordered]
    if kind == "gold":
        heights = [middle for middle, _, _ in golds]
    low, high = ([one[place] for one in golds] if spread else [] for place in (1, 2))
    return Line(name, [one["kl"] for one in ordered], heights, low, high)
