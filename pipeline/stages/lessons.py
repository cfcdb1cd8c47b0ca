"""The kind of stage that makes lessons for a critic out of answers that somebody wrote.

lessons: {kind: lessons, data: dataset}
critic:  {kind: instruct, from: base, data: lessons}
"""

from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from data_prep.contract.reading import read_jsonl
from data_prep.contract.receipt import Receipt
from data_prep.contract.report import Code, Section, StageReport, Table, Text
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.stages import DATASET, FILES, Input, Notify, Stage
from pipeline.preferences.constitution.lessons import Pair, lessons
from pipeline.stages.constituted import Constituted, constitution_of, measurable
from pipeline.stages.files import CONVERSATIONS, TRAIN, VALIDATION, write_rows
from pipeline.stages.instruct import conversation_files
from pipeline.tuning.instructions import read_conversations

EXAMPLES = 4


class LessonsConfig(Settings):
    most: PositiveInt = 4000
    """Most answers that lessons are made of."""
    comparisons: PositiveInt = 1
    """Choices between two answers for each critique."""


class Lessons(Constituted):
    """`lessons`: critiques, revisions and choices whose right answer is known."""

    name, gives = "lessons", CONVERSATIONS
    inputs = (Input("data", (DATASET, CONVERSATIONS, FILES), many=True),)
    settings = LessonsConfig
    artifacts = (TRAIN, VALIDATION)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Make texts that break each principle, and ask about them."""
        settings, found = stage.settings, measurable(stage)
        assert isinstance(settings, LessonsConfig)
        files = dict(zip((TRAIN, VALIDATION), conversation_files(stage), strict=True))
        rows = {
            name: list(
                lessons(
                    constitution_of(stage),
                    found,
                    [pair for path in paths for pair in read_pairs(path)][: settings.most],
                    settings.comparisons,
                    stage.seed + number,
                )
            )
            for number, (name, paths) in enumerate(files.items())
        }
        if not rows[TRAIN]:
            names = ", ".join(map(str, files[TRAIN]))
            raise InputError(f"{names}: no answer there keeps to a principle and can be made to break it")
        counts = write_rows(stage.folder, rows)
        notify(f"{stage.name}: {counts['train']:,} lessons of {len(found)} principles")
        return counts

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """What a critic that learns them knows, and some of them."""
        rows = []
        for _, row in list(read_jsonl(folder / TRAIN))[:EXAMPLES]:
            *before, last = row["messages"]
            rows.append([Code("\n".join(one["content"] for one in before)), last["content"]])
        note = Text(
            f"A critic that learns these {receipt.counts['train']:,} lessons knows what answers that people "
            "wrote look like when a rule has made them break a principle. It has seen no answer of a policy "
            "with a label, and nobody's judgement."
        )
        return StageReport(
            sections=[Section("What the critic is taught", [note, Table(["asked", "said"], rows)])]
        )


def read_pairs(path: Path) -> list[Pair]:
    """Questions and answers of a file of conversations, the first answer of each."""
    found = []
    for messages in read_conversations(path):
        place = next((n for n, one in enumerate(messages) if one.role == "assistant"), 0)
        if place and messages[place].content.strip():
            found.append((messages[:place], messages[place].content))
    return found
