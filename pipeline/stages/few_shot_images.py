"""The kind of stage that asks a model of pages what it says of a picture behind none, one or more examples.

    shots: {kind: few_shot_images, of: pages, data: pictures, shots: [0, 1, 2], about: [colour, shape, size]}

An example is another picture of the split with the answer to the same question, which is not written down.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from data_prep.contract.pictures import QUESTIONS, VALIDATION, ImageDataset
from data_prep.contract.report import Headline, Line, Lines, Part
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.stages import Notify, Stage
from pipeline.stages.see_images import Seeing, figure

if TYPE_CHECKING:
    from pipeline.evaluation.images.loading import ImageModel

WORDS = (
    "What is to be said of a picture follows from the pictures and words before it; without any a model can "
    "only guess what is asked. An answer is right where it is the very words; `another picture` has the same "
    "examples and the picture behind the right one."
)


class ShotsConfig(Settings):
    shots: list[int] = Field(default_factory=lambda: [0, 1, 2], min_length=1)
    """Pictures with words before the one that is asked about."""
    splits: list[str] = Field(default_factory=lambda: [VALIDATION], min_length=1)
    """Splits of the dataset that are asked about."""
    pictures: PositiveInt = 100
    """The first pictures of each split."""
    about: list[str] = Field(default_factory=list)
    """What is asked about, such as colour; empty takes all that is asked about all pictures of a page."""


class FewShotImages(Seeing):
    """`few_shot_images`: right answers by the number of examples."""

    name, title, settings = "few_shot_images", "Pictures by examples", ShotsConfig

    def asked(
        self, stage: Stage, model: "ImageModel", dataset: ImageDataset, notify: Notify
    ) -> dict[str, Any]:
        """Right answers of each split by the number of examples."""
        from pipeline.evaluation.images.shots import pages, said, with_others

        settings = stage.settings
        assert isinstance(settings, ShotsConfig)
        if not dataset.has(QUESTIONS):
            raise InputError(f"{dataset.folder}: nothing is asked about its pictures")
        most, figures = max(settings.shots), dict[str, dict[str, float]]()
        rows = list[dict[str, Any]]()
        for split in settings.splits:
            samples = with_others(model, dataset, split, settings.pictures, most)
            asked = pages(samples, most, settings.about)
            for shots in settings.shots:
                for name, by in (("", 0), (", another picture", 1)):
                    found = said(model, samples, asked, shots, by)
                    right = sum(
                        one.casefold() == page.question.answer.casefold()
                        for one, page in zip(found, asked, strict=True)
                    )
                    about = figure(right, len(asked))
                    figures[f"{split}, {shots} examples{name}"] = about
                    rows.append({"split": split, "shots": shots, "by": by, "about": about})
            notify(f"{stage.name}: {split}, {len(asked):,} pages")
        return {"figures": figures, "rows": rows, "words": WORDS}

    def parts(self, folder: Path, found: Mapping[str, Any]) -> list[Part]:
        """Shares, and how they grow."""
        lines = []
        for split in dict.fromkeys(row["split"] for row in found["rows"]):
            for by, name in ((0, split), (1, f"{split}, another picture")):
                rows = [row for row in found["rows"] if row["split"] == split and row["by"] == by]
                about = {key: [row["about"][key] for row in rows] for key in ("share", "low", "high")}
                shots = [row["shots"] for row in rows]
                lines.append(Line(name, shots, about["share"], about["low"], about["high"]))
        chart = Lines(f"{folder.name}-shots", "examples", "right answers", lines, share=True)
        return [*super().parts(folder, found), chart]

    def headlines(self, name: str, found: Mapping[str, Any]) -> list[Headline]:
        """Without examples and with the most."""
        own = [row for row in found["rows"] if row["by"] == 0 and row["split"] == found["rows"][0]["split"]]
        return [
            Headline(f"{row['shots']} examples", f"{row['about']['share']:.1%}", name)
            for row in (own[0], own[-1])
        ]
