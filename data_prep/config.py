"""The recipe's sections of data preparation. Importing this costs nothing: no Ray, no Arrow.

Every step's fingerprint covers just the sections it reads, so a change recomputes what depends on it and
no more: `filters` does not touch extraction, `tokenizer` does not touch deduplication, `workers` nothing.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from data_prep.contract.settings import Settings
from data_prep.filters.settings import FilterConfig

WITHOUT_PATHS = ("python_docs", "letters")
"""Kinds of corpora that are there without any file of the recipe's."""


class ExtractConfig(Settings):
    """From a page's bytes to text."""

    engine: Literal["trafilatura", "resiliparse"] = "trafilatura"
    """Extractor: trafilatura in its fast mode is the better one, resiliparse six times as quick."""
    seconds: PositiveFloat = 10.0
    """Time limit for one document, in seconds; a page that takes longer is counted as a failure."""
    page_bytes: PositiveInt = 10_000_000
    """Largest page that is looked at, in bytes before extraction; larger ones are counted as failures."""


class NearDedupConfig(Settings):
    """Documents that say nearly the same: MinHash with locality-sensitive hashing over n-grams of words.

    Two documents of Jaccard similarity s are found with probability 1 - (1 - s^rows)^bands. The defaults are
    FineWeb's: 0.92 at s = 0.8. Of the documents that are linked, directly or by others, the longest stays.
    """

    enabled: bool = True
    """Whether near-duplicates are dropped."""
    bands: PositiveInt = 14
    """Number of bands: documents that agree in one of them are linked."""
    rows: PositiveInt = 8
    """Hashes in a band, all of which have to agree."""
    ngram: PositiveInt = 5
    """Words in a row that are compared as one; case and punctuation do not count."""


class LineDedupConfig(Settings):
    """Lines that several documents have, such as menus and notices: the one with the smallest id keeps each.

    C4's last step, by the code that made it; its paper compares spans of three sentences. Lines are equal
    whatever their case. FineWeb and others found that it takes more than it gives, so it is off by default.
    """

    enabled: bool = False
    """Whether documents lose lines that others have, or that they have before."""
    min_sentences: int = Field(3, ge=0)
    """Fewest sentences in what is left of a document that lost lines; C4's."""


class DedupConfig(Settings):
    """Documents that say the same."""

    exact: bool = True
    """Keep one of the documents whose texts are equal but for case and white space."""
    near: NearDedupConfig = NearDedupConfig()
    lines: LineDedupConfig = LineDedupConfig()


class DecontaminateConfig(Settings):
    """Training documents that hold pieces of the texts that a model will be evaluated on."""

    paths: list[str] = Field(default_factory=list)
    """Evaluation files, plain text or JSON lines (all their strings); empty checks nothing."""
    ngram: PositiveInt = 13
    """Words in a row that have to agree (GPT-3, Brown et al. 2020, appendix C)."""
    most: int = Field(0, ge=0)
    """Most such n-grams in a document that is kept; documents are tagged with their number and the file."""


class ShardConfig(Settings):
    """The layout of the finished dataset."""

    block_tokens: PositiveInt = 1 << 20
    """Tokens in a block, about: whole documents are laid end to end until it is full. A corpus of less than
    64 such blocks gets smaller ones, so that there is something to shuffle."""
    shard_bytes: PositiveInt = 256_000_000
    """Size of a tar shard, about, in bytes."""
    publish: str = ""
    """URL of a folder (s3://bucket/name and the like) that the finished dataset is copied to, its manifest
    last; empty copies nothing."""


class LettersConfig(Settings):
    """Problems of letters with ways to their answers; `data_prep.contract.letters` has their rules."""

    texts: PositiveInt = 10_000
    """Texts of each of the five forms."""
    fewest: int = Field(2, ge=2, le=26)
    """Letters of the shortest problems."""
    most: int = Field(5, ge=3, le=26)
    """Letters of the longest problems; 3 at least, as shorter ones are not taken apart."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.fewest > self.most:
            raise ValueError(f"fewest {self.fewest} is more than most {self.most}")
        return self


class CorpusConfig(Settings):
    """Where the documents come from and which of them become the dataset."""

    later = frozenset({"letters"})

    kind: Literal["python_docs", "warc", "wet", "html", "text", "jsonl", "parquet", "letters"] = "python_docs"
    """What the corpus is: the documentation inside the installed Python packages, crawl files (WARC and
    legacy ARC), texts that Common Crawl extracted (WET), HTML pages, plain text, JSON lines, Parquet, or
    problems that are made by rules."""
    paths: list[str] = Field(default_factory=list)
    """Files, folders (with all that lies in them), globs, and URLs of the same (s3://, gs://, https://); a
    name that ends in `.paths` or `.paths.gz` is a list of them. python_docs and letters need none."""
    path_prefix: str = ""
    """Put before each line of such lists, for example https://data.commoncrawl.org/."""
    max_bytes: PositiveInt | None = None
    """Most text that is taken, in UTF-8 bytes before any filter; files are then taken in a seeded order."""
    validation_share: float = Field(0.01, gt=0.0, lt=1.0)
    """Share of the documents held out for validation."""
    workers: int | None = Field(None, ge=1, le=1024)
    """Parts worked on at once on this machine; null takes its cores. The result does not depend on it."""
    part_bytes: PositiveInt = 64_000_000
    """Input of one unit of work, in bytes on disk; a larger file is one unit."""
    text_field: str = "text"
    """Key or column of the text in JSON lines and Parquet; `url` is taken where it is there."""
    document_bytes: PositiveInt = 100_000
    """Plain text files longer than this are cut into documents of about this size, in UTF-8 bytes, at
    paragraph boundaries; the size of a long article, so that a book does not sit in one block alone."""
    extract: ExtractConfig = ExtractConfig()
    filters: FilterConfig = FilterConfig()
    dedup: DedupConfig = DedupConfig()
    decontaminate: DecontaminateConfig = DecontaminateConfig()
    pii: bool = True
    """Replace e-mail addresses and public IPv4 addresses by placeholders; not in python_docs."""
    letters: LettersConfig = LettersConfig()
    shards: ShardConfig = ShardConfig()

    @model_validator(mode="after")
    def _has_paths(self) -> Self:
        if self.kind not in WITHOUT_PATHS and not self.paths:
            raise ValueError(f"paths is empty; kind {self.kind} needs at least one file, folder or glob")
        if self.kind in WITHOUT_PATHS and self.paths:
            raise ValueError(f"kind {self.kind} takes no paths; kinds such as text, jsonl or warc do")
        return self


class TokenizerConfig(Settings):
    """The tokenizer: a SentencePiece model that is trained here, or one that is there."""

    kind: Literal["unigram", "bpe"] = "unigram"
    """Algorithm; unigram makes slightly fewer tokens and encodes faster, bpe trains much faster."""
    vocabulary_size: int = Field(16_384, ge=1, le=2**24)
    """Number of pieces, with the 111 reserved ones and the 256 bytes."""
    sample_bytes: PositiveInt = 20_000_000
    """Text that the model is trained on, in UTF-8 bytes, drawn from the training documents."""
    byte_fallback: bool = True
    """Whether characters without a piece become bytes; else they become <unk> and are lost."""
    character_coverage: float = Field(0.9995, gt=0.9, le=1.0)
    """Share of the sample's characters that get a piece of their own."""
    model: Path | None = None
    """An existing tokenizer in place of a new one: a run's or dataset's folder, a SentencePiece model or a
    Hugging Face tokenizer.json; datasets that are to be mixed share one."""


class PrepConfig(Settings):
    """Everything that decides what the dataset holds."""

    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    seed: int = Field(1234, ge=0, lt=1 << 63)
    """Seed of the order, the split and the samples."""
