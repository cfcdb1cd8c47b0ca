"""The kind of stage that counts how many answers of runs break a principle, by rules and not by a model.

audit: {kind: audit, of: [chat, supervised, aligned], data: dataset}

All runs answer the same held-out prompts; the first is what the others are compared with.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import PositiveFloat, PositiveInt

from data_prep.contract.reading import read_json
from data_prep.contract.receipt import Receipt, write_atomic
from data_prep.contract.report import Headline, Section, StageReport, Table, Text, percent
from data_prep.contract.settings import Settings
from data_prep.contract.stages import RUN, Input, Notify, Stage
from pipeline.stages.constituted import Constituted, measurable
from pipeline.stages.policies import HELD_OUT, PROMPTS, open_prompts
from pipeline.stages.training import find_start

RESULTS = "audit.json"


class AuditConfig(Settings):
    prompts: PositiveInt = 128
    """Most held-out prompts."""
    answers: PositiveInt = 4
    """Answers of each run to every prompt."""
    max_tokens: PositiveInt = 64
    """Most tokens of an answer."""
    temperature: PositiveFloat = 1.0
    """What logits are divided by."""


class Audit(Constituted):
    """`audit`: the share of a run's answers that break each principle, beside that of the first run."""

    name, gives = "audit", "figures"
    inputs = (Input("of", (RUN,), many=True), PROMPTS, HELD_OUT)
    settings = AuditConfig
    artifacts = (RESULTS,)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Ask every run the same, and look for breaches."""
        from pipeline.generation.load import load_model
        from pipeline.preferences.asking import ask
        from pipeline.preferences.constitution.audit import audit, fall, shares

        settings = stage.settings
        assert isinstance(settings, AuditConfig)
        rules = [(principle.name, breach) for principle, breach in measurable(stage)]
        found, first = {}, None
        for source in stage.inputs["of"]:
            model = load_model(find_start(source)[0])
            prompts = open_prompts(stage, model, settings.max_tokens, settings.prompts).validation
            notify(
                f"{stage.name}: {settings.answers} answers of {source.label} to each of {len(prompts)} "
                "prompts"
            )
            asked = ask(
                model, prompts, settings.answers, settings.max_tokens, settings.temperature, stage.seed
            )
            texts = [model.vocabulary.decode(one.tokens).strip() for one in asked.given]
            one = audit(rules, texts, [answer.ended for answer in asked.given], settings.answers)
            first = first or one
            found[source.label] = {
                "broken": shares(one),
                "fall": fall(one, first),
                "words": one.words,
                "distinct": one.distinct,
                "ended": one.ended,
                "samples": texts[:: settings.answers][:3],
            }
        results = {"runs": found, "prompts": len(prompts), "answers": settings.answers}
        write_atomic(stage.folder / RESULTS, json.dumps(results, indent=1) + "\n")
        return {"prompts": len(prompts), "runs": len(found)}

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Shares with their intervals, and how far each run is from the first."""
        return reported(folder, read_json(folder / RESULTS))


def reported(folder: Path, results: dict[str, Any]) -> StageReport:
    """The table, and the last run beside the first in one line."""
    runs = results["runs"]
    start, *_, last = runs
    rows = []
    for name, one in runs.items():
        for principle, (share, low, high) in one["broken"].items():
            less = (
                ""
                if name == start
                else "{:+.1%} ({:+.1%} to {:+.1%})".format(
                    *(-value for value in (one["fall"][principle][place] for place in (0, 2, 1)))
                )
            )
            rows.append([name, principle, f"{share:.1%}", f"{low:.1%} to {high:.1%}", less])
    figures = Table(
        ["run", "principle", "answers that break it", "95 % interval", f"beside {start}"],
        rows,
        frozenset({2, 3, 4}),
    )
    kept = Table(
        ["run", "words", "distinct-2", "ended", "an answer"],
        [
            [name, f"{one['words']:.1f}", f"{one['distinct']:.2f}", f"{one['ended']:.0%}", one["samples"][0]]
            for name, one in runs.items()
        ],
        frozenset({1, 2, 3}),
    )
    words = Text(
        f"{results['answers']} answers to each of {results['prompts']} held-out prompts. Breaches are found "
        "by rules that look at the text alone; no reward is made of them. The second table says whether "
        "answers became shorter, alike or endless on the way."
    )
    before, after = ({**runs[name]["broken"]}.popitem() for name in (start, last))
    headline = Headline(
        "answers that break a principle",
        percent(after[1][0], 1),
        f"{last}; {percent(before[1][0], 1)} of {start}",
    )
    return StageReport([headline], [Section("Principles", [figures, words, kept])])
