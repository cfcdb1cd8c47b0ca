"""The kind of stage that has models say why and then what: multimodal chain of thought, and its worth.

    reasoned: {kind: reason_images, of: [rationale, answer, at_once, blind_rationale, blind_answer],
               data: pictures, splits: [validation, composition]}

`of` names runs of objective image_rationales; what each is for follows from what it has learned. To every
question that has a rationale one is generated, and the answer is said behind it and behind the dataset's own,
with which it was learned. Beside these stand a run that answers at once, and blind runs: text alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from data_prep.contract.pictures import QUESTIONS, ImageDataset
from data_prep.contract.receipt import write_atomic
from data_prep.contract.report import Headline, Part, Picture, Table, Text
from data_prep.contract.settings import InputError
from data_prep.contract.stages import RUN, Input, Notify, Stage
from pipeline.stages.ask_images import AskConfig
from pipeline.stages.see_images import DATA, RESULTS, Seeing, figure

if TYPE_CHECKING:
    from pipeline.evaluation.images.reasoning import Reasoned

RATIONALES, EXAMPLES = "rationales.jsonl", "rationales.png"
WIDTH = 900
"""Of the sheet, in pixels."""


class ReasonImages(Seeing):
    """`reason_images`: generated rationales, and answers behind them, behind given ones and without any."""

    name, title, settings = "reason_images", "Reasons and answers", AskConfig
    inputs: ClassVar[tuple[Input, ...]] = (Input("of", (RUN,), many=True), DATA)
    artifacts = (RESULTS, RATIONALES, EXAMPLES)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Ask, count, and keep what was generated."""
        from pipeline.evaluation.images.asking import grouped, sheet
        from pipeline.evaluation.images.loading import pictures
        from pipeline.evaluation.images.reasoning import GENERATED, Reasoners, reasoned_line
        from pipeline.objectives.pictures import ImageSamples

        settings, data = stage.settings, stage.source(DATA.key)
        assert isinstance(settings, AskConfig)
        assert data is not None
        dataset, team = ImageDataset(data.path), Reasoners.opened(one.path for one in stage.inputs["of"])
        if not dataset.has(QUESTIONS):
            raise InputError(f"{dataset.folder}: nothing is asked about its pictures")
        rows, lines = list[dict[str, Any]](), list[str]()
        for number, split in enumerate(settings.splits):
            model = team.seeing["rationale"]
            samples = ImageSamples.joined([*pictures(model, dataset, split, settings.pictures)])
            asked = team.reason(samples)
            if not asked:
                raise InputError(f"{dataset.folder}: no question of the split {split} has a rationale")
            rows += [row_of(f"{split}, {group}", some) for group, some in grouped(asked)]
            ids = [int(one) for one in samples.ids]
            lines += [json.dumps(one.row(split, ids), ensure_ascii=False) for one in asked]
            if number == 0:
                sheet(
                    *(samples, asked, stage.folder / EXAMPLES, settings.shown),
                    told=reasoned_line,
                    way=GENERATED,
                    width=WIDTH,
                )
            notify(f"{stage.name}: {split}, {len(asked):,} questions")
        figures = {f"{row['questions']}, {way}": one for row in rows for way, one in row["ways"].items()}
        found = {"figures": figures, "rows": rows, "words": WORDS}
        write_atomic(stage.folder / RATIONALES, "".join(f"{line}\n" for line in lines))
        write_atomic(stage.folder / RESULTS, json.dumps(found, indent=2) + "\n")
        return found

    def parts(self, folder: Path, found: Mapping[str, Any]) -> list[Part]:
        """Answers by way, the differences, rationales, and examples."""
        rows = found["rows"]
        ways = list(rows[0]["ways"])
        pairs = [f"{one['one']} less {one['other']}" for one in rows[0]["leads"]]
        answers = [
            [row["questions"], f"{row['of']:,}", *(cell(row["ways"][way]) for way in ways)] for row in rows
        ]
        leads = [[row["questions"], *(lead_cell(one["lead"]) for one in row["leads"])] for row in rows]
        reasons = [[row["questions"], *(cell(one) for one in row["rationales"].values())] for row in rows]
        told = list(rows[0]["rationales"])
        return [
            Text(found["words"]),
            Table(("questions", "of", *ways), answers, frozenset(range(1, len(ways) + 2))),
            Table(("questions", *pairs), leads, frozenset(range(1, len(pairs) + 1))),
            Text(REASONS),
            Table(("questions", *told), reasons, frozenset(range(1, len(told) + 1))),
            Picture(str(folder / EXAMPLES), "pictures with questions, generated rationales and answers"),
        ]

    def headlines(self, name: str, found: Mapping[str, Any]) -> list[Headline]:
        """Open questions of the first split, by way."""
        opened = [row for row in found["rows"] if row["questions"].endswith(", open")]
        return [
            Headline(way, f"{one['share']:.1%}", f"{name}: {row['questions']}")
            for row in opened[:1]
            for way, one in row["ways"].items()
        ]


def row_of(name: str, asked: "list[Reasoned]") -> dict[str, Any]:
    """Right answers to some questions by way, the differences, and how often rationales are right."""
    from pipeline.evaluation.images.asking import hits
    from pipeline.evaluation.images.reasoning import GENERATED, leads

    right = [one for one in asked if one.right_rationale]
    wrong = [one for one in asked if not one.right_rationale]
    return {
        "questions": name,
        "of": len(asked),
        "ways": {way: figure(count, len(asked)) for way, count in hits(asked).items()},
        "leads": [{"one": one, "other": other, "lead": about} for one, other, about in leads(asked)],
        "rationales": {
            "right rationales": figure(len(right), len(asked)),
            "rationales with the answer": figure(sum(one.says_answer for one in asked), len(asked)),
            "answers behind right ones": figure(sum(one.right(GENERATED) for one in right), len(right)),
            "answers behind wrong ones": figure(sum(one.right(GENERATED) for one in wrong), len(wrong)),
        },
    }


def cell(one: Mapping[str, float]) -> str:
    """A share with its interval; empty of nothing."""
    return f"{one['share']:.1%} ({one['low']:.1%} to {one['high']:.1%})" if one["of"] else ""


def lead_cell(lead: tuple[float, float, float]) -> str:
    """A difference with its interval."""
    mean, low, high = lead
    return f"{mean:+.1%} ({low:+.1%} to {high:+.1%})"


WORDS = (
    "An answer is right where it is the very words. The model that answers has learned behind the dataset's "
    "rationales; its answers behind generated ones tell what it is worth. `At once` reads no rationale, and "
    "`text alone` is of models that have read questions, rationales and answers and never saw a picture. "
    "Intervals are of 95 %; those of shares take questions as independent, those of differences pictures."
)
REASONS = (
    "A generated rationale is right where it is the very words of the dataset's, with all that these say of "
    "the picture. Beside it stand rationales that have the right answer in their words, and how often "
    "answers are right behind right rationales and behind others."
)
