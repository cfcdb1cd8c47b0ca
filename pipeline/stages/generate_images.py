"""The kind of stage that makes pictures out of noise, and judges them where they are of shapes.

    samples: {kind: generate_images, of: imagen, text: t5, data: pictures, guidance: [1, 3, 6]}
    larger:  {kind: generate_images, of: imagen, upsampler: larger, text: t5, data: pictures}

Each of the first pictures of a split says what is asked for: its caption, or its class. Judged is what the
rules of shapes read in a picture, beside the same pictures with other captions, an even guess, and the true
pictures at the same size. Sheets show pictures by guidance weight and by the step of the training.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from data_prep.contract.pictures import VALIDATION, ImageDataset
from data_prep.contract.receipt import write_atomic
from data_prep.contract.report import Headline, Line, Lines, Part, Picture, Table, Text
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.stages import PICTURES, RUN, Input, Notify, Stage
from pipeline.checkpoints.run_folder import saved_steps
from pipeline.stages.pretrain_diffusion import TEXT
from pipeline.stages.see_images import RESULTS, Seeing, figure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.evaluation.images.prompted import Prompts
    from pipeline.generation.diffusion.guided import Generator
    from pipeline.generation.diffusion.samplers import Sampler

SHEET, STEPS = "guidance.png", "steps.png"
HEAD = ("what", "share", "95 % interval", "other captions", "even guess", "true pictures")
SHOWN = ("colour", "shape", "size", "caption")
"""Verdicts of a lone thing that are told."""


class GenerateConfig(Settings):
    splits: list[str] = Field(default_factory=lambda: [VALIDATION], min_length=1)
    """Splits whose pictures say what is asked for, such as one of combinations never trained on."""
    prompts: PositiveInt = 48
    """The first pictures of each split."""
    each: PositiveInt = 2
    """Pictures that are made for each of them."""
    guidance: list[NonNegativeFloat] = Field(default_factory=lambda: [1.0, 3.0], min_length=1)
    """Guidance weights w of e(0) + w (e(c) - e(0)); 1 is none."""
    sampler: Literal["ddpm", "ddim"] = "ddim"
    """Steps with noise (Ho et al. 2020) or without (Song et al. 2021)."""
    steps: PositiveInt = 25
    """Steps from noise to a picture."""
    threshold: Literal["none", "clip", "dynamic"] = "dynamic"
    """What is done to numbers outside [-1, 1] at each step: nothing, cut, or Imagen's dynamic threshold."""
    low_level: NonNegativeInt = 20
    """Steps of noise less one that a small picture gets before a super-resolution stage is shown it."""
    low_guidance: NonNegativeFloat = 1.0
    """Guidance weight of a super-resolution stage."""
    at: list[PositiveInt] = Field(default_factory=list)
    """Steps of the training on the sheet by step; empty takes all whose checkpoints are there."""
    shown: int = Field(8, ge=1, le=32)
    """Prompts on a sheet."""
    scale: int = Field(3, ge=1, le=16)
    """Width of a pixel on it."""


class GenerateImages(Seeing):
    """`generate_images`: pictures, sheets of them, and what the rules of shapes read in them."""

    name, title, settings = "generate_images", "Pictures out of noise", GenerateConfig
    inputs: ClassVar[tuple[Input, ...]] = (
        Input("of", (RUN,)),
        Input("upsampler", (RUN,), required=False),
        TEXT,
        Input("data", (PICTURES,)),
    )
    artifacts = (RESULTS, SHEET, STEPS)

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Make pictures, judge them, leave sheets."""
        from pipeline.evaluation.images.sheet import sheet

        settings, data = stage.settings, stage.source("data")
        assert isinstance(settings, GenerateConfig)
        assert data is not None
        dataset = ImageDataset(data.path)
        chain = Chain(stage, settings)
        found: dict[str, Any] = {"figures": {}, "guided": {}, "steps": settings.steps}
        for split in settings.splits:
            prompts = chain.prompts(dataset, split)
            rows = []
            for weight in settings.guidance:
                pictures = chain.made(prompts.times(settings.each), weight)
                rows.append(pictures[:: settings.each][: settings.shown])
                about = judge(pictures, prompts.times(settings.each), stage.seed)
                found["guided"].setdefault(split, {})[f"{weight:g}"] = about["diversity"]
                found["figures"] |= {
                    f"{split}, guidance {weight:g}, {name}": one for name, one in about["figures"].items()
                }
                notify(f"{stage.name}: {split} with guidance {weight:g}{told_of(about['figures'])}")
            if split == settings.splits[0]:
                true = prompts.pictures[: settings.shown]
                sheet(stacked([true, *rows]), stage.folder / SHEET, settings.scale)
                found["captions"] = list(prompts.captions[: settings.shown])
                found["at"] = self._by_step(stage, settings, prompts, notify)
        write_atomic(stage.folder / RESULTS, json.dumps(found, indent=2) + "\n")
        return found

    def _by_step(
        self, stage: Stage, settings: GenerateConfig, prompts: "Prompts", notify: Notify
    ) -> list[int]:
        """A sheet of the same prompts and noise at steps of the training."""
        from pipeline.evaluation.images.sheet import sheet

        of = stage.source("of")
        assert of is not None
        steps = settings.at or saved_steps(of.path)
        rows = []
        for step in steps:
            chain = Chain(stage, settings, step)
            some = prompts.first(settings.shown)
            rows.append(chain.made(some, settings.guidance[0]))
            notify(f"{stage.name}: pictures of step {step}")
        sheet(stacked(rows), stage.folder / STEPS, settings.scale)
        return steps

    def headlines(self, name: str, found: Mapping[str, Any]) -> list[Headline]:
        """How often the caption is true, with the best guidance weight on the first split."""
        of_captions = [one for key, one in found["figures"].items() if key.endswith(", caption")]
        if not of_captions:
            return []
        best = max(of_captions[: len(next(iter(found["guided"].values())))], key=lambda one: one["share"])
        return [
            Headline(
                "generated pictures that show their caption",
                f"{best['share']:.1%}",
                f"{name}, {best['low']:.1%} to {best['high']:.1%}; other captions {best['shuffled']:.1%}",
            )
        ]

    def parts(self, folder: Path, found: Mapping[str, Any]) -> list[Part]:
        """Tables, curves, sheets."""
        parts: list[Part] = [Text(WORDS)]
        if found["figures"]:
            parts.append(Table(HEAD, [row(*one) for one in found["figures"].items()], frozenset(range(1, 6))))
            parts += curves(folder.name, found)
        shown = "; ".join(found["captions"])
        parts += [
            Text(
                f"By guidance weight, from above: the true pictures, then a row a weight. Asked for: {shown}."
            ),
            Picture(str(folder / SHEET), "pictures by guidance weight"),
            Text(
                f"By step of the training, from above: {', '.join(map(str, found['at']))}; with the "
                "same noise and the first guidance weight."
            ),
            Picture(str(folder / STEPS), "pictures by step of the training"),
        ]
        return parts


WORDS = (
    "What the rules of shapes read in generated pictures. Beside it the same pictures with the captions of "
    "others in their place, a mean over 20 orders; an even guess about one thing; and true pictures at the "
    "same size, read the same way. The denoiser is a list of transformer blocks (DiT); the published ones of "
    "Imagen and DALL-E 2 are U-Nets."
)


class Chain:
    """A generator, and perhaps one that makes its pictures larger."""

    def __init__(self, stage: Stage, settings: GenerateConfig, step: int | None = None) -> None:
        from pipeline.generation.diffusion.guided import Generator
        from pipeline.generation.diffusion.loading import open_denoiser, open_text_encoder

        of, upsampler, text = (stage.source(key) for key in ("of", "upsampler", TEXT.key))
        assert of is not None
        self.seed, self.settings = stage.seed, settings
        denoiser = open_denoiser(of.path, step)
        encoder = open_text_encoder(text.path, denoiser.device) if text is not None else None
        self.base = Generator(denoiser, encoder)
        self.upsampler: Generator | None = None
        if upsampler is not None:
            larger = open_denoiser(upsampler.path)
            if larger.diffusion.low_size != denoiser.vision.image_size:
                raise InputError(
                    f"stages.{stage.name}.upsampler: {upsampler.path} is shown pictures of "
                    f"{larger.diffusion.low_size} pixels, and {of.path} makes some of "
                    f"{denoiser.vision.image_size}"
                )
            beside = encoder if larger.diffusion.condition == "text" else None
            self.upsampler = Generator(larger, beside)

    @property
    def last(self) -> "Generator":
        """What makes the pictures that are looked at."""
        return self.upsampler or self.base

    def prompts(self, dataset: ImageDataset, split: str) -> "Prompts":
        """What is asked for."""
        from pipeline.evaluation.images.prompted import prompts_of

        by_class = self.base.denoiser.diffusion.condition == "label"
        size = self.last.denoiser.vision.image_size
        return prompts_of(dataset, split, self.settings.prompts, size, by_class)

    def made(self, prompts: "Prompts", weight: float) -> "NDArray[np.uint8]":
        """A picture for each prompt; the same noise for every weight and every step of the training."""
        import numpy as np

        from pipeline.generation.diffusion.guided import Told
        from pipeline.objectives.draws import combine

        keys = combine(self.seed, np.arange(len(prompts.captions)))
        by_class = self.base.denoiser.diffusion.condition == "label"
        told = Told(classes=prompts.labels) if by_class else Told(prompts.captions)
        pictures = self.base.pictures(told, keys, self.sampler(self.base), weight)
        if self.upsampler is None:
            return pictures
        told = Told(prompts.captions) if self.upsampler.encoder else Told()
        sampler, level = self.sampler(self.upsampler), self.settings.low_level
        return self.upsampler.pictures(told, keys, sampler, self.settings.low_guidance, pictures, level)

    def sampler(self, generator: "Generator") -> "Sampler":
        """The steps of a generator."""
        from pipeline.generation.diffusion.samplers import Sampler
        from pipeline.objectives.vision.noise import remaining

        diffusion = generator.denoiser.diffusion
        steps = min(self.settings.steps, diffusion.steps)
        return Sampler(
            remaining(diffusion),
            diffusion.predicts,
            steps,
            self.settings.sampler,
            threshold=self.settings.threshold,
        )


def judge(pictures: "NDArray[np.uint8]", prompts: "Prompts", seed: int) -> dict[str, Any]:
    """Shares with their intervals by verdict, and how different pictures of one prompt are."""
    from pipeline.evaluation.images.judged import CHANCES, diversity, judged, named, scenes, shuffled

    found: dict[str, Any] = {"diversity": diversity(pictures, prompts.captions), "figures": {}}
    if not prompts.judged:
        return found
    seen = scenes(pictures)
    true, others = judged(scenes(prompts.pictures), prompts.captions), shuffled(seen, prompts.captions, seed)
    asked = {"caption", *(name for name in SHOWN if named(prompts.captions, name))}
    ceilings = {name: float(hits.mean()) for name, hits in true.items()}
    for name, hits in judged(seen, prompts.captions).items():
        if name in asked:
            about = figure(int(hits.sum()), len(hits), CHANCES.get(name))
            found["figures"][name] = about | {"shuffled": others[name], "true": ceilings[name]}
    return found


def told_of(figures: Mapping[str, Mapping[str, float]]) -> str:
    """The shares in a line."""
    return "".join(f", {name} {one['share']:.0%}" for name, one in figures.items())


def row(name: str, one: Mapping[str, float]) -> list[str]:
    """A share beside what it is compared with."""
    others = [f"{one[key]:.1%}" if key in one else "" for key in ("shuffled", "chance", "true")]
    return [name, f"{one['share']:.1%}", f"{one['low']:.1%} to {one['high']:.1%}", *others]


def curves(name: str, found: Mapping[str, Any]) -> list[Part]:
    """Fidelity and diversity by guidance weight, a line a split."""
    lines, apart = list[Line](), list[Line]()
    for split, by_weight in found["guided"].items():
        weights = [float(one) for one in by_weight]
        if len(weights) < 2:
            return []
        shares = [found["figures"][f"{split}, guidance {one}, caption"] for one in by_weight]
        low, high = ([one[end] for one in shares] for end in ("low", "high"))
        lines.append(Line(split, weights, [one["share"] for one in shares], low, high))
        apart.append(Line(split, weights, list(by_weight.values())))
    words = "Guidance weight against how often the caption is true, and how far two pictures of it are apart."
    return [
        Text(words),
        Lines(f"{name}_fidelity", "guidance weight", "pictures that show their caption", lines),
        Lines(f"{name}_diversity", "guidance weight", "difference of two pictures of a caption", apart),
    ]


def stacked(rows: "Sequence[NDArray[np.uint8]]") -> "NDArray[np.uint8]":
    """[R, B, Y, X, 3]."""
    import numpy as np

    return np.stack(rows)
