"""The kind of stage that has models of image tokens make pictures of texts, and judges them.

    samples: {kind: sample_images, of: [small, medium, large], codes: codes, judge: clip, data: tokens}

What is asked for are the captions of the first pictures of each split. Judged is what the rules of shapes
read in the pictures, beside the same pictures with others' captions and beside the true pictures after the
quantiser, which no model of its tokens passes. The models stand side by side by size; the last one is looked
at by guidance weight, by step of its training, and with the best of several pictures, chosen by a contrastive
run.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from data_prep.contract.pictures import VALIDATION
from data_prep.contract.receipt import write_atomic
from data_prep.contract.report import Headline, Line, Lines, Part, Picture, Table, Text
from data_prep.contract.settings import Settings
from data_prep.contract.stages import PICTURES, RUN, Input, Notify, Stage
from pipeline.stages.see_images import RESULTS, Seeing, figure

if TYPE_CHECKING:
    from pipeline.evaluation.images.sampled import Prompts, Studio

SIZES, STEPS, WEIGHTS = "sizes.png", "steps.png", "guidance.png"
HEAD = ("what", "share", "95 % interval", "others' captions", "even guess", "true pictures' tokens")
SHOWN = ("colour", "shape", "size", "caption")
"""What is told of a picture: its thing's, and whether the whole caption is true."""


class SampleConfig(Settings):
    splits: list[str] = Field(default_factory=lambda: [VALIDATION], min_length=1)
    """Splits whose captions are asked for, such as one of combinations never trained on."""
    prompts: PositiveInt = 128
    """The first captions of each split."""
    guidance: list[NonNegativeFloat] = Field(default_factory=lambda: [1.0, 2.0, 4.0], min_length=1)
    """Weights of the text on logits, u + w (c - u); the first is that of all other figures."""
    candidates: int = Field(8, ge=2, le=256)
    """Pictures of which the best is chosen where there is a `judge`; Parti's 16."""
    temperature: NonNegativeFloat = 1.0
    """What logits are divided by; 0 takes the likeliest token."""
    top_k: int = Field(0, ge=0)
    """Draw from so many likeliest tokens; 0 from all."""
    shown: int = Field(12, ge=1, le=32)
    """Captions on a sheet."""
    scale: int = Field(3, ge=1, le=16)
    """Width of a pixel on it."""


class SampleImages(Seeing):
    """`sample_images`: pictures of texts, token by token, by size, guidance and step."""

    name, title, settings = "sample_images", "Pictures of texts", SampleConfig
    inputs: ClassVar[tuple[Input, ...]] = (
        Input("of", (RUN,), many=True),
        Input("codes", (RUN,)),
        Input("judge", (RUN,), required=False),
        Input("data", (PICTURES,)),
    )
    artifacts = (RESULTS, SIZES, STEPS, WEIGHTS)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Make pictures, judge them, leave sheets."""
        from pipeline.evaluation.images.sampled import Studio

        settings = stage.settings
        assert isinstance(settings, SampleConfig)
        studio = Studio.opened(stage.inputs, settings.temperature, settings.top_k, stage.seed)
        prompts = {split: studio.prompts(split, settings.prompts) for split in settings.splits}
        found: dict[str, Any] = {"models": studio.sizes(), "splits": settings.splits, "figures": {}}
        for name, figures in judgements(studio, prompts, settings, stage.seed):
            found["figures"] |= {f"{name}: {key}": one for key, one in figures.items()}
            told = ", ".join(f"{key} {one['share']:.0%}" for key, one in figures.items())
            notify(f"{stage.name}: {name}: {told}")
        found |= sheets(studio, prompts, settings, stage.folder)
        write_atomic(stage.folder / RESULTS, json.dumps(found, indent=2) + "\n")
        return found

    def headlines(self, name: str, found: Mapping[str, Any]) -> list[Headline]:
        """How often the caption is true of the last model's pictures."""
        key = f"{found['models'][-1]['name']}, {found['splits'][0]}"
        one = found["figures"][f"{key}: caption"]
        note = f"{key}, {one['low']:.1%} to {one['high']:.1%}, others' captions {one['shuffled']:.1%}"
        return [Headline("pictures that show their text", f"{one['share']:.1%}", note)]

    def parts(self, folder: Path, found: Mapping[str, Any]) -> list[Part]:
        """Figures by size as a chart, all of them as a table, and the sheets."""
        captions = "; ".join(found["captions"])
        return [
            Text(WORDS),
            by_size(folder.name, found),
            Table(HEAD, list(rows(found)), frozenset(range(1, len(HEAD)))),
            Text(f"By size of the model, from above: {', '.join(found['rows'])}. Asked for: {captions}."),
            Picture(str(folder / SIZES), "pictures by size of the model"),
            Text(f"By guidance weight, from above: {', '.join(f'{one:g}' for one in found['weights'])}."),
            Picture(str(folder / WEIGHTS), "pictures by guidance weight"),
            Text(f"By step of the training, from above: {', '.join(map(str, found['steps']))}."),
            Picture(str(folder / STEPS), "pictures by step of the training"),
        ]


WORDS = (
    "What the rules of shapes read in pictures that were said token by token. Beside it the same pictures "
    "with the captions of others in their place, a mean over 20 orders; an even guess about one thing; and "
    "the true pictures, brought to tokens and back: the quantiser's own ceiling."
)


def judgements(
    studio: "Studio", prompts: Mapping[str, "Prompts"], settings: SampleConfig, seed: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is measured, by its name: models by split, then weights and best pictures of the last model."""
    first = settings.guidance[0]
    for model, split in ((one, split) for one in studio.models for split in prompts):
        asked = prompts[split]
        yield f"{model}, {split}", judge(studio, asked, studio.pictures(model, asked.captions, first), seed)
    last = studio.models[-1]
    for weight in settings.guidance[1:]:
        for split, asked in prompts.items():
            pictures = studio.pictures(last, asked.captions, weight)
            yield f"{last}, {split}, guidance {weight:g}", judge(studio, asked, pictures, seed)
    for split, asked in prompts.items() if studio.reranks else ():
        pictures = studio.best(last, asked.captions, first, settings.candidates)
        yield f"{last}, {split}, best of {settings.candidates}", judge(studio, asked, pictures, seed)


def judge(studio: "Studio", asked: "Prompts", pictures: Any, seed: int) -> dict[str, Any]:
    """Shares with intervals, by what is looked at."""
    from pipeline.evaluation.images.judged import CHANCES, judged, scenes, shuffled

    seen = scenes(pictures)
    true = {name: float(hits.mean()) for name, hits in judged(scenes(asked.pictures), asked.captions).items()}
    others = shuffled(seen, asked.captions, seed)
    return {
        name: figure(int(hits.sum()), len(hits), CHANCES.get(name))
        | {"shuffled": others[name], "true": true[name]}
        for name, hits in judged(seen, asked.captions).items()
        if name in SHOWN
    }


def sheets(
    studio: "Studio", prompts: Mapping[str, "Prompts"], settings: SampleConfig, folder: Path
) -> dict[str, Any]:
    """Sheets of the same captions, some of each split: by size, by weight, by step; says what rows are."""
    import numpy as np

    from pipeline.evaluation.images.sheet import sheet

    share = -(-settings.shown // len(prompts))
    captions = [one for asked in prompts.values() for one in asked.distinct(share)][: settings.shown]
    last, first = studio.models[-1], settings.guidance[0]
    steps = studio.steps(last)
    shown = {
        SIZES: [studio.pictures(one, captions, first) for one in studio.models],
        WEIGHTS: [studio.pictures(last, captions, weight) for weight in settings.guidance],
        STEPS: [studio.pictures(last, captions, first, step) for step in steps],
    }
    for name, found in shown.items():
        sheet(np.stack(found), folder / name, settings.scale)
    return {"captions": captions, "rows": studio.models, "weights": settings.guidance, "steps": steps}


def rows(found: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """The rows of the table."""
    for name, one in found["figures"].items():
        yield (
            name,
            f"{one['share']:.1%}",
            f"{one['low']:.1%} to {one['high']:.1%}",
            f"{one['shuffled']:.1%}",
            f"{one['chance']:.1%}" if "chance" in one else "",
            f"{one['true']:.1%}",
        )


def by_size(name: str, found: Mapping[str, Any]) -> Lines:
    """Right pictures over the parameters of their models, with intervals, each split a line."""
    models, splits, lines = found["models"], found["splits"], []
    for split in splits:
        for what in ("shape", "caption"):
            some = [found["figures"][f"{one['name']}, {split}: {what}"] for one in models]
            lines.append(
                Line(
                    f"{split}, {what}",
                    [one["parameters"] for one in models],
                    [one["share"] for one in some],
                    [one["low"] for one in some],
                    [one["high"] for one in some],
                )
            )
    first = found["figures"][f"{models[0]['name']}, {splits[0]}: caption"]
    levels = {"true pictures' tokens": first["true"], "others' captions": first["shuffled"]}
    return Lines(f"{name}_by_size", "parameters", "right pictures (share)", lines, levels, log_x=True)
