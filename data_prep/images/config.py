"""The recipe's section `images`. Importing this costs nothing: no Ray, no Pillow."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from data_prep.contract.settings import Settings

SceneKind = Literal["one", "two", "several"]


class ShapesConfig(Settings):
    """Drawn pictures of shapes; `data_prep.contract.shapes` has their rules."""

    later = frozenset({"questions"})

    count: PositiveInt = 4000
    """Pictures of the split train."""
    validation: PositiveInt = 400
    """Those of validation, whose pairs of colour and shape are in train too."""
    composition: int = Field(400, ge=0)
    """Those of composition: pairs of colour and shape that no other split has."""
    kinds: tuple[SceneKind, ...] = ("one", "two", "several")
    """Scenes, each as likely: a thing alone, two of different colours, two to four that are alike."""
    places: bool = False
    """Whether a caption says where a lone thing is."""
    questions: bool = False
    """Whether there are questions about each picture, with their answers and what leads to these."""


class PixelsConfig(Settings):
    """How a picture that comes in becomes the one that is stored; all of it is in the dataset's
    fingerprint."""

    size: PositiveInt | None = None
    """Side in pixels; null leaves sizes as they are."""
    fit: Literal["crop", "pad", "squash", "short_side"] = "crop"
    """How a picture is brought to the size: its short side, and the centre of that; its long side, on black;
    both sides; or only its short side, and not where it is smaller already."""
    filter: Literal["bicubic", "bilinear", "lanczos", "box", "nearest"] = "bicubic"
    """How pixels are resampled."""
    format: Literal["keep", "jpeg", "png", "webp"] = "keep"
    """Format in the shards; keep leaves the bytes of JPEG, PNG and WebP as they are where no pixel changes
    and
    nothing is noted in them, and encodes others as JPEG, or as PNG where they came without loss."""
    quality: int = Field(95, ge=1, le=100)
    """Quality of JPEG and WebP."""
    animations: Literal["reject", "first_frame"] = "reject"
    """What becomes of animated pictures."""
    most_pixels: PositiveInt = 1 << 26
    """Pictures that say they have more pixels are counted and not decoded."""
    most_bytes: PositiveInt = 1 << 26
    """Files that are larger are counted and not looked at."""


class PictureRules(Settings):
    """Which pictures and captions stay; sizes are those of the picture as it came, upright."""

    least_side: PositiveInt = 8
    """Fewest pixels of the shorter side."""
    most_side: PositiveInt | None = None
    """Most pixels of the longer side; null takes any."""
    most_aspect: PositiveFloat = 5.0
    """Longer side over shorter side, at most."""
    caption_characters: tuple[int, int] = (1, 2000)
    """Characters of a caption, from and to; a picture stays with those of its captions that fit."""
    caption_words: tuple[int, int] = (1, 300)
    """Words of a caption, from and to."""
    caption_letters: float = Field(0.3, ge=0.0, le=1.0)
    """Share of a caption's characters that are letters, at least. Names of files are no captions either."""
    scores: list[str] = Field(default_factory=list)
    """Parquet files, or folders of them, with columns `id` and `score` of the pictures, as embed_images
    writes
    them with a contrastive run of ours; empty asks for none."""
    least_score: float = 0.2
    """Least of these scores, the cosine of a picture and its caption, where there are any."""
    once: bool = False
    """Whether a caption that more than ten pictures share stays with none, as those of buttons and logos."""


class DuplicateRules(Settings):
    """Pictures that show the same: of each group the largest stays, those that are held out before all."""

    exact: bool = True
    """Whether pictures whose stored pixels are equal count as one."""
    near: bool = True
    """Whether pictures count as one whose perceptual hashes and colours are near; not in shapes, which
    differ in
    little."""
    distance: int = Field(4, ge=0, le=8)
    """Bits of 64 in which two such hashes may differ."""
    colour: float = Field(10.0, ge=0.0)
    """Mean difference of two pictures' colours in 8 x 8 fields, at most, of 255."""
    likeness: float = Field(0.985, ge=-1.0, le=1.0)
    """Correlation of these, at least: simple drawings are alike in most fields, and differ in few."""


class ImagesConfig(Settings):
    """Where pictures come from and which of them become the dataset."""

    later = frozenset({"question_field"})

    kind: Literal["shapes", "classes", "captions", "webdataset", "parquet", "jsonl", "idx", "warc"] = "shapes"
    """What the pictures are in: drawn here; folders called by their class; folders with a text file beside
    each
    picture; tars of WebDataset; Parquet; JSON lines with paths or base64; IDX as MNIST has it; crawl files,
    with the alternative texts of their pages."""
    paths: list[str] = Field(default_factory=list)
    """Files, folders, globs and URLs of the same; shapes need none."""
    validation_paths: list[str] = Field(default_factory=list)
    """The same for pictures that are held out; empty draws them."""
    validation_share: float = Field(0.1, gt=0.0, lt=1.0)
    """Share of the pictures that is held out, where none are named."""
    fields: list[Literal["caption", "label", "questions"]] | None = None
    """What every picture must have; null takes what all of them have."""
    image_field: str = "image"
    """Key or column of the picture in JSON lines and Parquet."""
    caption_field: str = "caption"
    """Key or column of its caption or captions."""
    label_field: str = "label"
    """Key or column of its class."""
    question_field: str = "questions"
    """Key or column of the questions about it: a list of pairs, or of mappings, of question and answer."""
    class_names: list[str] = Field(default_factory=list)
    """Names of the classes 0, 1, ... where the files have numbers."""
    shapes: ShapesConfig = ShapesConfig()
    pixels: PixelsConfig = PixelsConfig()
    rules: PictureRules = PictureRules()
    duplicates: DuplicateRules = DuplicateRules()
    workers: int | None = Field(None, ge=1, le=1024)
    """Parts worked on at once on this machine; null takes its cores. The result does not depend on it."""
    part_bytes: PositiveInt = 64_000_000
    """Input of one unit of work, in bytes on disk; a larger file is one unit."""
    shard_bytes: PositiveInt = 256_000_000
    """Size of a tar shard, about, in bytes."""

    @model_validator(mode="after")
    def _has_paths(self) -> Self:
        if self.kind == "shapes" and (self.paths or self.validation_paths):
            raise ValueError("kind shapes takes no paths; kinds such as classes or webdataset do")
        if self.kind != "shapes" and not self.paths:
            raise ValueError(f"paths is empty; kind {self.kind} needs at least one file, folder or glob")
        return self
