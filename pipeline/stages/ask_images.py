"""The kind of stage that puts questions about pictures to a model that sees them, and to the same half blind.

    asked: {kind: ask_images, of: seeing, blind: words, data: pictures, splits: [validation, composition]}

Every question of the pictures is asked with its picture, with another picture, and of a model that `blind`
names, which knows questions and answers alone. Yes-or-no questions count apart, and so does what others
are about.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from data_prep.contract.pictures import QUESTIONS, VALIDATION, ImageDataset
from data_prep.contract.report import Headline, Part, Picture, Table, Text
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.stages import RUN, Input, Notify, Stage
from pipeline.stages.see_images import DATA, OF, RESULTS, Seeing, figure

if TYPE_CHECKING:
    from pipeline.evaluation.images.loading import ImageModel

ANSWERS = "answers.png"
BLIND = Input("blind", (RUN,), required=False)
HEAD = ("questions", "of", "with the picture", "with another", "without any", "more than the best without")


class AskConfig(Settings):
    splits: list[str] = Field(default_factory=lambda: [VALIDATION], min_length=1)
    """Splits of the dataset that are asked about, such as one of combinations never trained on."""
    pictures: PositiveInt = 200
    """The first pictures of each split, about which everything is asked."""
    shown: int = Field(6, ge=1, le=40)
    """Pictures of the first split on the sheet."""


class AskImages(Seeing):
    """`ask_images`: answers about pictures, beside what is answered without the right one."""

    name, title, settings = "ask_images", "Questions about pictures", AskConfig
    inputs: ClassVar[tuple[Input, ...]] = (OF, DATA, BLIND)
    artifacts = (RESULTS, ANSWERS)

    def asked(
        self, stage: Stage, model: "ImageModel", dataset: ImageDataset, notify: Notify
    ) -> dict[str, Any]:
        """Right answers of each split by groups of questions, and the sheet."""
        from pipeline.evaluation.images.asking import SEEING, ask, counts, sheet
        from pipeline.evaluation.images.loading import open_images, pictures
        from pipeline.objectives.pictures import ImageSamples

        settings, source = stage.settings, stage.source(BLIND.key)
        assert isinstance(settings, AskConfig)
        if not dataset.has(QUESTIONS):
            raise InputError(f"{dataset.folder}: nothing is asked about its pictures")
        blind = None if source is None else open_images(source.path)
        if blind is not None and not blind.config.objective.blind:
            raise InputError(
                f"{blind.run}: it sees pictures; a run of image_answers with blind true is expected"
            )
        rows, figures = list[dict[str, Any]](), dict[str, dict[str, float]]()
        for number, split in enumerate(settings.splits):
            samples = ImageSamples.joined([*pictures(model, dataset, split, settings.pictures)])
            asked = ask(model, blind, samples)
            for group, right, total, more in counts(asked):
                rows.append({"questions": f"{split}, {group}", "of": total, "right": right, "more": more})
                figures[f"{split}, {group}"] = figure(right[SEEING], total)
            if number == 0:
                sheet(samples, asked, stage.folder / ANSWERS, settings.shown)
            notify(f"{stage.name}: {split}, {len(asked):,} questions")
        return {"figures": figures, "rows": rows, "words": WORDS}

    def parts(self, folder: Path, found: Mapping[str, Any]) -> list[Part]:
        """Shares with and without the picture, and the sheet."""
        rows = []
        for row in found["rows"]:
            shares = [figure(hits, row["of"]) for hits in row["right"].values()]
            cells = [f"{one['share']:.1%} ({one['low']:.1%} to {one['high']:.1%})" for one in shares]
            mean, low, high = row["more"]
            cells += [""] * (3 - len(cells))
            rows.append(
                [row["questions"], f"{row['of']:,}", *cells, f"{mean:+.1%} ({low:+.1%} to {high:+.1%})"]
            )
        return [
            Text(found["words"]),
            Table(HEAD, rows, frozenset(range(1, len(HEAD)))),
            Picture(str(folder / ANSWERS), "pictures with questions and answers"),
        ]

    def headlines(self, name: str, found: Mapping[str, Any]) -> list[Headline]:
        """Open questions and those of yes and no, of the first split."""
        return [
            Headline(row["questions"], f"{row['right']['the picture'] / row['of']:.1%}", name)
            for row in found["rows"][:2]
        ]


WORDS = (
    "An answer is right where it is the very words. The same model is asked with the picture behind the "
    "right one, and a model that has learned questions and answers alone without any. Intervals are of 95 %, "
    "and so are those of the difference between two answers to the same questions."
)
