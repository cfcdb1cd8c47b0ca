"""Kinds of stages that ask trained models of images what they see.

features: {kind: embed_images, of: clip, data: pictures}                # Parquet, a row a picture
shots:    {kind: zero_shot, of: clip, data: pictures, templates: ["a {}", "a small {}"]}
restored: {kind: restore_images, of: mae, data: pictures}
beside:   {kind: image_baselines, of: vit, data: pictures}              # as many steps on the same images
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from data_prep.contract.pictures import CAPTION, VALIDATION, ImageDataset
from data_prep.contract.reading import read_json
from data_prep.contract.receipt import Receipt, write_atomic
from data_prep.contract.report import Headline, Part, Picture, Section, StageReport, Table, Text
from data_prep.contract.settings import InputError, Settings
from data_prep.contract.stages import FILES, PICTURES, RUN, Input, Kind, Notify, Stage
from pipeline.evaluation.intervals import wilson

if TYPE_CHECKING:
    from pipeline.evaluation.images.loading import ImageModel

RESULTS, SHEET = "results.json", "restored.png"
OF, DATA = Input("of", (RUN,)), Input("data", (PICTURES,))
HEAD = ("what", "share", "95 % interval", "chance")
NUMBERS = frozenset({1, 2, 3})


class Seeing(Kind):
    """A kind of stage that reads a run and a dataset of pictures, and leaves figures."""

    gives = "figures"
    inputs: ClassVar[tuple[Input, ...]] = (OF, DATA)
    artifacts: ClassVar[tuple[str, ...]] = (RESULTS,)
    libraries: ClassVar[tuple[str, ...]] = ("torch",)
    title: ClassVar[str]
    """Heading in the report."""

    def compute(self, stage: Stage, notify: Notify) -> dict[str, Any]:
        """Ask, and leave what came of it."""
        from pipeline.evaluation.images.loading import open_images

        of, data = stage.source("of"), stage.source("data")
        assert of is not None
        assert data is not None
        dataset = ImageDataset(data.path)
        found = self.asked(stage, open_images(of.path), dataset, notify)
        write_atomic(stage.folder / RESULTS, json.dumps(found, indent=2) + "\n")
        return found

    def asked(
        self, stage: Stage, model: "ImageModel", dataset: ImageDataset, notify: Notify
    ) -> dict[str, Any]:
        """What there is to say, as JSON has it."""
        raise NotImplementedError

    def report(self, folder: Path, receipt: Receipt) -> StageReport:
        """The figures of `results.json`."""
        found = read_json(folder / RESULTS)
        return StageReport(
            list(self.headlines(folder.name, found)),
            [Section(f"{self.title}: {folder.name}", self.parts(folder, found))],
            figures={folder.name: {name: one["share"] for name, one in found.get("figures", {}).items()}},
            places={folder.name: str(folder)},
        )

    def headlines(self, name: str, found: Mapping[str, Any]) -> list[Headline]:
        """The first figure."""
        figures = list(found.get("figures", {}).items())[:1]
        return [
            Headline(what, f"{one['share']:.1%}", f"{name}, {one['low']:.1%} to {one['high']:.1%}")
            for what, one in figures
        ]

    def parts(self, folder: Path, found: Mapping[str, Any]) -> list[Part]:
        """A table of shares with their intervals, beside chance."""
        del folder
        return [Text(found["words"]), Table(HEAD, shares(found["figures"]), NUMBERS)]


def shares(figures: Mapping[str, Any]) -> list[list[str]]:
    """Rows below `HEAD` of figures by name."""
    return [
        [
            name,
            f"{one['share']:.1%}",
            f"{one['low']:.1%} to {one['high']:.1%}",
            f"{one['chance']:.1%}" if "chance" in one else "",
        ]
        for name, one in figures.items()
    ]


def figure(hits: int, total: int, chance: float | None = None) -> dict[str, float]:
    """A share with its 95 % interval, and that of an even guess."""
    low, high = wilson(hits, total)
    about = {"share": hits / max(1, total), "low": low, "high": high, "of": total}
    return about if chance is None else about | {"chance": chance}


class ZeroShotConfig(Settings):
    templates: list[str] = Field(default_factory=lambda: ["a photo of a {}.", "a picture of a {}."])
    """Texts in which a class takes the place of {}; the features of all are averaged."""
    splits: list[str] = Field(default_factory=lambda: [VALIDATION], min_length=1)
    """Splits of the dataset that are asked, such as one of combinations never trained on."""
    pictures: PositiveInt = 512
    """The first pictures of each split, among which retrieval finds its own."""
    relations: list[str] = Field(default_factory=list)
    """Words such as `left of`: captions with both sides of one exchanged are scored beside the true ones."""


class ZeroShot(Seeing):
    """`zero_shot`: classes by texts that name them, and retrieval both ways."""

    name, title, settings = "zero_shot", "Images and texts", ZeroShotConfig

    def asked(
        self, stage: Stage, model: "ImageModel", dataset: ImageDataset, notify: Notify
    ) -> dict[str, Any]:
        """Shares for each split."""
        settings = stage.settings
        assert isinstance(settings, ZeroShotConfig)
        figures: dict[str, dict[str, float]] = {}
        for split in settings.splits:
            figures |= of_split(model, dataset, split, settings)
            notify(f"{stage.name}: {split} is done")
        words = (
            "A caption that equals a picture's own counts as right, whosever it is; chance is an even guess. "
            f"Each split is its first {settings.pictures:,} pictures, or all. Classes are found by "
            f"{len(settings.templates)} templates, whose features are averaged."
        )
        return {"figures": figures, "words": words}


def of_split(
    model: "ImageModel", dataset: ImageDataset, split: str, settings: ZeroShotConfig
) -> dict[str, dict[str, float]]:
    """Zero-shot classes, recalls both ways, and captions with their sides exchanged."""
    import torch

    from pipeline.evaluation.images.loading import pictures
    from pipeline.evaluation.images.prompts import class_features, hits
    from pipeline.evaluation.images.retrieval import recalls, swapped

    parts, captions, labels = [], list[str](), []
    for samples in pictures(model, dataset, split, settings.pictures):
        parts.append(model.image_features(samples))
        captions += samples.captions
        labels.append(torch.from_numpy(samples.labels))
    images, classes, found = torch.cat(parts), dataset.classes, dict[str, dict[str, float]]()
    if classes:
        wanted = torch.cat(labels)
        named = class_features(model, classes, settings.templates)
        for k in (1, 5):
            if k < len(classes):
                right = hits(images, named, wanted, k)
                about = figure(int(right.sum()), len(right), k / len(classes))
                found[f"{split}, zero-shot top-{k}"] = about
    if dataset.has("caption"):
        texts = model.text_features(captions)
        scores = (images @ texts.t()).numpy()
        for way, table in (("image to text", scores), ("text to image", scores.T)):
            for one in recalls(table, captions, captions):
                found[f"{split}, {way} R@{one.k}"] = {
                    "share": one.share,
                    "low": one.low,
                    "high": one.high,
                    "of": len(captions),
                    "chance": one.chance,
                }
        others = [swapped(one, settings.relations) for one in captions]
        rows = [row for row, other in enumerate(others) if other]
        if rows:
            wrong = model.text_features([str(others[row]) for row in rows])
            own = (images[rows] * texts[rows]).sum(1) > (images[rows] * wrong).sum(1)
            found[f"{split}, caption before its sides exchanged"] = figure(int(own.sum()), len(rows), 0.5)
    return found


class EmbedConfig(Settings):
    splits: list[str] = Field(default_factory=list)
    """Splits of the dataset; empty takes all."""


class EmbedImages(Seeing):
    """`embed_images`: what a model makes of each picture of a dataset, as Parquet files, one a split."""

    name, title, settings, gives = "embed_images", "Features", EmbedConfig, FILES
    libraries = ("torch", "pyarrow")

    def asked(
        self, stage: Stage, model: "ImageModel", dataset: ImageDataset, notify: Notify
    ) -> dict[str, Any]:
        """Rows by split."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        from pipeline.evaluation.images.loading import pictures

        settings = stage.settings
        assert isinstance(settings, EmbedConfig)
        counts, width = {}, 0
        for split in settings.splits or list(dataset.manifest.splits):
            path = stage.folder / f"{split}.parquet"
            temporary = path.with_name(f".{path.name}.tmp")
            writer, rows = None, 0
            for samples in pictures(model, dataset, split, None):
                features = model.image_features(samples).numpy()
                width = features.shape[1]
                scores = np.full(len(samples), np.nan, np.float32)
                if model.config.reads_text and dataset.has(CAPTION):
                    texts = model.text_features(samples.captions).numpy()
                    scores = (features * texts).sum(1)
                values = pa.array(features.ravel(), pa.float32())
                columns = {
                    "id": pa.array(samples.ids, pa.uint64()),
                    "label": pa.array(samples.labels, pa.int64()),
                    "caption": pa.array(samples.captions, pa.string()),
                    "score": pa.array(scores, pa.float32(), from_pandas=True),
                    "features": pa.FixedSizeListArray.from_arrays(values, width),
                }
                table = pa.table(columns)
                writer = writer or pq.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
                rows += len(samples)
            if writer is not None:
                writer.close()
                temporary.replace(path)
            counts[split] = rows
            notify(f"{stage.name}: {split}, {rows:,} pictures")
        return {"rows": counts, "width": width}

    def parts(self, folder: Path, found: Mapping[str, Any]) -> list[Part]:
        """How many rows there are."""
        rows = [[f"{split}.parquet", f"{count:,}"] for split, count in found["rows"].items()]
        words = (
            f"A row a picture: id, label, caption, {found['width']} numbers, and of a model that reads texts "
            "their score, the cosine of picture and caption."
        )
        return [Text(words), Table(("file", "rows"), rows, frozenset({1}))]


class RestoreConfig(Settings):
    pictures: int = Field(8, ge=1, le=64)
    """Held-out pictures on the sheet."""
    scale: int = Field(3, ge=1, le=16)
    """Width of a pixel on it."""


class RestoreImages(Seeing):
    """`restore_images`: a masked autoencoder's pictures of what it has not seen."""

    name, title, settings = "restore_images", "Hidden patches restored", RestoreConfig
    artifacts = (RESULTS, SHEET)

    def asked(
        self, stage: Stage, model: "ImageModel", dataset: ImageDataset, notify: Notify
    ) -> dict[str, Any]:
        """The sheet, and the loss on its pictures."""
        from pipeline.evaluation.images.loading import pictures
        from pipeline.evaluation.images.restored import restored
        from pipeline.evaluation.images.sheet import sheet

        settings = stage.settings
        assert isinstance(settings, RestoreConfig)
        if model.config.objective.kind != "masked_patches":
            raise InputError(
                f"{model.run}: it has learned {model.config.objective.kind}; masked_patches restores"
            )
        samples = next(pictures(model, dataset, VALIDATION, settings.pictures))
        rows, loss, guess = restored(model, samples)
        sheet(rows, stage.folder / SHEET, settings.scale)
        notify(f"{stage.name}: {stage.folder / SHEET}")
        own = model.config.objective.normalised_patches
        return {"loss": loss, "guess": guess, "normalised": own}

    def parts(self, folder: Path, found: Mapping[str, Any]) -> list[Part]:
        """The sheet with its legend."""
        words = (
            "Above held-out pictures, in the middle what the model sees of them, below what it makes of "
            f"that; patches that it sees stay as they are. Mean square error on these: {found['loss']:.3f}; "
            f"a guess of every patch's own mean has {found['guess']:.3f}."
        )
        if found["normalised"]:
            words += (
                " The model is asked for patches less their own mean over their own deviation, and the sheet "
                "takes both from these."
            )
        return [Text(words), Picture(str(folder / SHEET), "restored pictures")]

    def headlines(self, name: str, found: Mapping[str, Any]) -> list[Headline]:
        """The loss."""
        return [Headline("error on hidden patches", f"{found['loss']:.3f}", name)]


class BaselinesConfig(Settings):
    learning_rates: dict[str, PositiveFloat] = Field(
        default_factory=lambda: {"linear": 1e-3, "convolutional": 3e-3}
    )
    """Peak rate of each model that is trained."""
    weight_decay: float = Field(0.05, ge=0.0)
    """Decoupled weight decay."""


class ImageBaselines(Seeing):
    """`image_baselines`: a linear model and a small convolutional net on the images that a run trained on."""

    name, title, settings = "image_baselines", "Baselines on the same images", BaselinesConfig

    def asked(
        self, stage: Stage, model: "ImageModel", dataset: ImageDataset, notify: Notify
    ) -> dict[str, Any]:
        """Trained on the batches of the run, measured on all held-out pictures."""
        import torch

        from pipeline.data.images.maker import ImageBatchMaker
        from pipeline.evaluation.images import baselines
        from pipeline.evaluation.images.loading import AT_ONCE

        settings, config = stage.settings, model.config
        assert isinstance(settings, BaselinesConfig)
        classes = len(dataset.classes)
        if not classes:
            raise InputError(f"{dataset.folder}: its pictures have no classes, which baselines tell apart")
        maker = ImageBatchMaker(config, str(dataset.folder), 0, 1, make_batch=lambda samples: {})
        figures = {}
        for name, rate in settings.learning_rates.items():
            if name not in baselines.MODELS:
                known = ", ".join(baselines.MODELS)
                raise InputError(f"learning_rates: there is no baseline {name}; there are {known}")
            torch.manual_seed(stage.seed)
            net = baselines.MODELS[name](maker.size, classes)
            steps = (
                maker.train.samples(indices)
                for step in range(config.train.steps)
                for indices in maker.indices(step)
            )
            count = config.train.steps * config.train.accumulation(1)
            baselines.fit(net, steps, count, rate, settings.weight_decay)
            right, total = baselines.right(net, maker.samples_of(VALIDATION, AT_ONCE))
            numbers = sum(one.numel() for one in net.parameters())
            figures[f"{name}, {numbers:,} parameters"] = figure(right, total, 1 / classes)
            notify(f"{stage.name}: {name} is right on {right} of {total}")
        words = (
            "Trained on the same pictures in the same order, as many and as augmented as the transformer's, "
            "without mixing; measured on all held-out ones."
        )
        return {"figures": figures, "words": words}
