"""The kind of stage that prepares data: raw corpora in, a dataset out."""

from pathlib import Path
from typing import Any

from data_prep.config import CorpusConfig, PrepConfig, TokenizerConfig
from data_prep.contract.dataset import MANIFEST
from data_prep.contract.names import without_passwords
from data_prep.contract.receipt import Receipt
from data_prep.contract.report import (
    Bar,
    Bars,
    Cell,
    Headline,
    Panel,
    Part,
    Section,
    StageReport,
    Table,
    percent,
    short,
)
from data_prep.contract.stages import DATASET, Kind, Notify, Stage
from data_prep.storage import Storage

MIB = 1 << 20
MOST_RULES = 20
"""Rules in the chart; those that removed most."""


class Prep(Kind):
    """`prep`: reads the sections corpus and tokenizer; its settings are those."""

    name, gives = "prep", DATASET
    sections = ("corpus", "tokenizer")

    def fingerprint(self, stage: Stage) -> str:
        """As `data_prep.run` has it: the settings and the files that there are at the corpus's paths."""
        from data_prep.run import identify

        return identify(config_of(stage)).fingerprint

    def is_done(self, stage: Stage) -> bool:
        """Whether the dataset, in the folder or at its address, is this very one."""
        from data_prep.run import is_whole

        return is_whole(storage_of(stage), self.fingerprint(stage))

    def run(self, stage: Stage, notify: Notify) -> Receipt:
        """Make the dataset, or take over one that another work folder beside this has."""
        from data_prep.run import prepare

        found = sorted(stage.work.resolve().parent.glob(f"*/*/{MANIFEST}"))
        others = [path.parent for path in found]
        return prepare(config_of(stage), storage_of(stage), notify, others)

    def config(self, stage: Stage) -> dict[str, Any]:
        """As receipts of datasets have it."""
        return without_passwords(config_of(stage).model_dump(mode="json"))

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """The funnel: what was left after each step, and what each rule took."""
        parts: list[Part] = [chart(receipt), funnel(receipt)] if receipt.counts.get("funnel") else []
        return StageReport(headlines(receipt), [Section("Documents", parts)])


def config_of(stage: Stage) -> PrepConfig:
    """What data preparation is given."""
    corpus, tokenizer = stage.sections["corpus"], stage.sections["tokenizer"]
    assert isinstance(corpus, CorpusConfig)
    assert isinstance(tokenizer, TokenizerConfig)
    return PrepConfig(corpus=corpus, tokenizer=tokenizer, seed=stage.seed)


def storage_of(stage: Stage) -> Storage:
    """Where the dataset lies."""
    return Storage(stage.folder, stage.address and f"{stage.address}/{stage.name}")


def headlines(receipt: Receipt) -> list[Headline]:
    """Documents and tokens."""
    steps, found = receipt.counts.get("funnel", []), []
    if steps:
        first, last = steps[0]["documents"], steps[-1]["documents"]
        found.append(Headline("documents kept", f"{last:,}", f"of {first:,} ({percent(last, first)})"))
    if "train_tokens" in receipt.counts:
        found.append(Headline("train tokens", short(receipt.counts["train_tokens"])))
    return found


def funnel(receipt: Receipt) -> Table:
    """What was left after each step, as bars."""
    steps = receipt.counts["funnel"]
    first = max(1, steps[0]["documents"])
    rows: list[list[Cell]] = [
        [
            str(step["step"]),
            Bar(step["documents"] / first),
            f"{step['documents']:,}",
            percent(step["documents"], first),
            f"{step.get('bytes', 0) / MIB:,.1f}",
            ", ".join(f"{reason} {count:,}" for reason, count in step.get("removed", {}).items()),
        ]
        for step in steps
    ]
    return Table(["step", "", "documents", "share", "MiB", "removed here"], rows, frozenset({2, 3, 4}))


def chart(receipt: Receipt) -> Bars:
    """Documents left after each step, and below what each rule took away."""
    steps = receipt.counts["funnel"]
    first = max(1, steps[0]["documents"])
    left = [
        (step["step"], step["documents"], f"{step['documents']:,}  {step['documents'] / first:.1%}")
        for step in steps
    ]
    removed = [item for step in steps for item in step["removed"].items()]
    rules = sorted(removed, key=lambda item: -item[1])[:MOST_RULES]
    panels = [Panel("documents left after", left)]
    if rules:
        panels.append(Panel("removed by", [(name, count, f"{count:,}") for name, count in rules]))
    return Bars("funnel", panels)
