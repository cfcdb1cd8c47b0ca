"""The kind of stage that has a run answer prompts and compares the answers by rules.

pairs: {kind: compare, from: chat, data: dataset, rules: {docstring_style: 1.0}, answers: 4, noise: 0.5}
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveFloat, PositiveInt

from data_prep.contract.receipt import Receipt
from data_prep.contract.report import Headline, Section, StageReport, Table
from data_prep.contract.settings import Settings
from data_prep.contract.stages import Kind, Notify, Stage
from pipeline.stages.files import PREFERENCES, TRAIN, VALIDATION, write_rows
from pipeline.stages.policies import FROM, HELD_OUT, PROMPTS, open_prompts
from pipeline.stages.training import find_start

if TYPE_CHECKING:
    from pipeline.preferences.asking import Asked

EXAMPLES = 5


class CompareConfig(Settings):
    rules: dict[str, float]
    """Weights of the rules by which answers are compared."""
    prompts: PositiveInt = 256
    """Most prompts."""
    held_out: PositiveInt = 64
    """Most prompts whose comparisons validate."""
    answers: int = Field(4, ge=2, le=64)
    """Answers to each."""
    max_tokens: PositiveInt = 64
    """Most tokens of an answer."""
    temperature: PositiveFloat = 1.0
    """What logits are divided by."""
    noise: float = Field(0.0, ge=0.0)
    """How much raters err: ranks are drawn with odds exp(score / noise) (Plackett-Luce); 0 never errs."""


class Compare(Kind):
    """`compare`: K answers of a run to each prompt, ranked by rules."""

    name, gives = "compare", PREFERENCES
    inputs = (FROM, PROMPTS, HELD_OUT)
    settings = CompareConfig
    artifacts = (TRAIN, VALIDATION)
    libraries = ("torch",)

    def check(self, stage: Stage) -> None:
        """Every rule is there."""
        from pipeline.preferences.rules import rule_called

        for name in settings_of(stage).rules:
            rule_called(name, f"{stage.name}.rules")

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Ask, compare, write."""
        from pipeline.generation.load import load_model
        from pipeline.preferences.asking import ask

        settings, source = settings_of(stage), stage.source("from")
        assert source is not None
        start, run = find_start(source)
        model = load_model(start)
        prompts = open_prompts(stage, model, settings.max_tokens, settings.held_out)
        counts: dict[str, Any] = dict(prompts.counts)
        parts = {TRAIN: prompts.train[: settings.prompts], VALIDATION: prompts.validation}
        for name, some in parts.items():
            notify(f"{stage.name}: {settings.answers} answers of {run.name} to each of {len(some)} prompts")
            asked = ask(model, some, settings.answers, settings.max_tokens, settings.temperature, stage.seed)
            rows = ranked(stage, asked, model.vocabulary)
            counts |= write_rows(stage.folder, {name: rows})
            scores = [score for row in rows for score in row["scores"]]
            counts[f"mean_score_{name.removesuffix('.jsonl')}"] = sum(scores) / max(1, len(scores))
        return counts

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """Some comparisons."""
        from data_prep.contract.reading import read_jsonl

        rows = []
        for _, row in list(read_jsonl(folder / VALIDATION))[:EXAMPLES]:
            order = sorted(range(len(row["ranks"])), key=row["ranks"].__getitem__)
            best, worst = (row["answers"][place] for place in (order[0], order[-1]))
            rows.append([row["prompt"][-1]["content"][-120:], best, worst])
        table = Table(["prompt", "ranked first", "ranked last"], rows)
        headline = Headline("prompts compared", str(receipt.counts["train"]), folder.name)
        return StageReport([headline], [Section("Comparisons", [table])])


def settings_of(stage: Stage) -> CompareConfig:
    """The stage's own keys."""
    assert isinstance(stage.settings, CompareConfig)
    return stage.settings


def ranked(stage: Stage, asked: "Asked", vocabulary: Any) -> list[dict[str, Any]]:
    """A row for each prompt: its answers, their scores, and ranks as raters would give them."""
    import numpy as np

    from pipeline.preferences.rewards import weighted

    settings = settings_of(stage)
    scores, texts = weighted(settings.rules, stage.name, vocabulary, asked.prompts, asked.given)
    each, rows = settings.answers, []
    for first in range(0, len(scores), each):
        prompt, part = asked.prompts[first], slice(first, first + each)
        noise = np.random.default_rng([stage.seed, *prompt.tokens]).gumbel(size=each) * settings.noise
        rows.append(
            {
                "prompt": [{"role": one.role, "content": one.content} for one in prompt.messages],
                "answers": texts[part],
                "ranks": ranks_of([float(score + n) for score, n in zip(scores[part], noise, strict=True)]),
                "scores": scores[part],
            }
        )
    return rows


def ranks_of(scores: Sequence[float]) -> list[int]:
    """The best is 1; equal scores have equal ranks.

    >>> ranks_of([0.5, 2.0, 0.5])
    [2, 1, 2]
    """
    return [1 + sum(other > score for other in scores) for score in scores]
