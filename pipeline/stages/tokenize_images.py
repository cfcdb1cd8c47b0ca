"""The kind of stage that turns pictures into tokens: a trained quantiser reads a dataset of them.

    tokens: {kind: tokenize_images, of: codes, data: pictures}

What comes out is a dataset of pictures again, each a map whose pixels are the numbers of codes
(`pipeline.objectives.vision.token_maps`): captions, classes, ids and order are those of the pictures. What
the quantiser makes of held-out pictures is the most that a model of its tokens can reach; it is measured
here.
"""

import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from data_prep.contract.dataset import DOCUMENTS, TOKENIZER
from data_prep.contract.picture_shards import write_shard
from data_prep.contract.pictures import (
    CAPTION,
    TRAIN,
    ImageDataset,
    Picture,
    write_manifest,
)
from data_prep.contract.receipt import file_hash
from data_prep.contract.report import Headline, Part, Table, Text
from data_prep.contract.report import Picture as Shown
from data_prep.contract.settings import Settings
from data_prep.contract.shapes import nouns_of
from data_prep.contract.stages import PICTURES, Notify, Stage
from pipeline.checkpoints.run_folder import INDEX
from pipeline.stages.see_images import HEAD, NUMBERS, RESULTS, Seeing, figure, shares

if TYPE_CHECKING:
    from pipeline.evaluation.images.loading import ImageModel
    from pipeline.evaluation.images.tokenizer import ImageTokenizer

SHEET = "restored.png"


class TokenizeConfig(Settings):
    shard_samples: PositiveInt = 100_000
    """Most samples of a shard."""
    judged: int = Field(256, ge=0)
    """Pictures of each held-out split that are made anew from their tokens, and looked at."""
    pictures: int = Field(16, ge=1, le=64)
    """Of them on the sheet."""
    scale: int = Field(3, ge=1, le=16)
    """Width of a pixel on it."""


class TokenizeImages(Seeing):
    """`tokenize_images`: a dataset of pictures as the tokens of a quantiser."""

    name, title, settings, gives = "tokenize_images", "Pictures as tokens", TokenizeConfig, PICTURES
    artifacts = (RESULTS, SHEET)

    def asked(
        self, stage: Stage, model: "ImageModel", dataset: ImageDataset, notify: Notify
    ) -> dict[str, Any]:
        """The dataset, and what is left of held-out pictures."""
        from pipeline.evaluation.images.tokenizer import tokenizer_of

        settings, tokenizer = stage.settings, tokenizer_of(model)
        assert isinstance(settings, TokenizeConfig)
        counts = write_maps(tokenizer, dataset, stage.folder, settings.shard_samples, notify)
        held_out = [split for split in dataset.manifest.splits if split != TRAIN]
        return {"rows": counts, "codes": tokenizer.size} | looked_at(
            tokenizer, dataset, held_out, settings, stage.folder / SHEET
        )

    def headlines(self, name: str, found: Mapping[str, Any]) -> list[Headline]:
        """The error, and the oracle's verdict where there is one."""
        first = next(iter(found["errors"]))
        error = Headline("error of restored pictures", f"{found['errors'][first]:.4f}", f"{name}, {first}")
        return [*super().headlines(name, found), error]

    def parts(self, folder: Path, found: Mapping[str, Any]) -> list[Part]:
        """The sheet, errors, how evenly codes are used, and what the oracle reads in restored pictures."""
        rows = [
            [
                split,
                f"{found['rows'][split]:,}",
                f"{error:.5f}",
                f"{use['codes_used']:.1%}",
                f"{use['code_perplexity']:,.0f}",
            ]
            for split, error in found["errors"].items()
            for use in [found["usage"][split]]
        ]
        head = ("split", "pictures", "mean square error", "codes in use", "perplexity")
        words = (
            "Above held-out pictures, below what the decoder makes of their tokens; colours are in [0, 1]. "
            f"The codebook has {found['codes']:,} codes."
        )
        judged: list[Part] = [
            Text("What the oracle of shapes reads in the restored pictures: the most that tokens can carry."),
            Table(HEAD, shares(found["figures"]), NUMBERS),
        ]
        return [
            Text(words),
            Shown(str(folder / SHEET), "held-out pictures, and the same from their tokens"),
            Table(head, rows, frozenset({1, 2, 3, 4})),
            *(judged if found["figures"] else []),
        ]


def write_maps(
    tokenizer: "ImageTokenizer", dataset: ImageDataset, folder: Path, most: int, notify: Notify
) -> dict[str, int]:
    """Write every split of a dataset as maps of tokens; returns their samples."""
    from pipeline.objectives.vision.token_maps import TOKENS

    for name in (TOKENIZER, DOCUMENTS):
        if (dataset.folder / name).is_file():
            shutil.copyfile(dataset.folder / name, folder / name)
    written, counts = {}, {}
    for split in dataset.manifest.splits:
        parts = enumerate(in_parts(maps(tokenizer, dataset, split), most))
        written[split] = [write_shard(folder, split, index, part) for index, part in parts]
        counts[split] = sum(entry.samples for entry, _ in written[split])
        notify(f"{folder.name}: {split}, {counts[split]:,} pictures")
    model = tokenizer.model
    pixels = {
        TOKENS: tokenizer.size,
        "size": model.vision.side,
        "quantiser": file_hash(model.checkpoint.folder / INDEX),
    }
    said, about = dataset.manifest, {"pictures": dataset.manifest.fingerprint}
    write_manifest(folder, written, said.fields, said.classes, pixels, about)
    return counts


def in_parts(samples: Iterator[Picture], most: int) -> Iterator[list[Picture]]:
    """The samples in lists of `most`, the last with what is left."""
    while part := list(islice(samples, most)):
        yield part


def maps(tokenizer: "ImageTokenizer", dataset: ImageDataset, split: str) -> Iterator[Picture]:
    """The samples of a split in stored order; corrupt pictures are left out."""
    from PIL import Image

    from pipeline.evaluation.images.loading import pictures
    from pipeline.objectives.vision.token_maps import as_map

    side, row = tokenizer.model.vision.side, 0
    for samples in pictures(tokenizer.model, dataset, split, None):
        found = as_map(tokenizer.numbers(samples.pixels), side)
        for place, pixels in enumerate(found):
            if samples.real[place]:
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "PNG")
                captions = dataset.sample(split, row + place, check=False)[1]
                yield Picture(
                    file.getvalue(),
                    "png",
                    side,
                    side,
                    int(samples.ids[place]),
                    captions,
                    int(samples.labels[place]),
                )
        row += len(samples)


def looked_at(
    tokenizer: "ImageTokenizer",
    dataset: ImageDataset,
    splits: Sequence[str],
    settings: TokenizeConfig,
    sheet_path: Path,
) -> dict[str, Any]:
    """Errors, use of codes and the oracle's verdicts by split, and the sheet of the first one's pictures."""
    import numpy as np

    from pipeline.evaluation.images.codebook import usage
    from pipeline.evaluation.images.judged import CHANCES, judged, scenes
    from pipeline.evaluation.images.loading import pictures
    from pipeline.evaluation.images.sheet import sheet

    errors, use, figures = {}, {}, {}
    for split in splits:
        parts = list(pictures(tokenizer.model, dataset, split, settings.judged))
        if not parts:
            continue
        pixels = np.concatenate([one.pixels for one in parts])
        numbers = tokenizer.numbers(pixels)
        made = tokenizer.pictures(numbers)
        apart = pixels.astype(np.float32) - made.astype(np.float32)
        errors[split] = float(np.square(apart / np.float32(255)).mean())
        use[split] = usage(np.bincount(numbers.ravel(), minlength=tokenizer.size))
        if split == splits[0]:
            sheet(np.stack([pixels, made])[:, : settings.pictures], sheet_path, settings.scale)
        captions = [caption for one in parts for caption in one.captions]
        if dataset.has(CAPTION) and all(nouns_of(one)[0] for one in captions):
            for name, hits in judged(scenes(made), captions).items():
                figures[f"{split}, {name}"] = figure(int(hits.sum()), len(hits), CHANCES.get(name))
    return {"errors": errors, "usage": use, "figures": figures}
