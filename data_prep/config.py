"""The recipe's sections of data preparation. Importing this costs nothing: no Ray, no Arrow.

Every step's fingerprint covers just the sections it reads, so a change recomputes what depends on it and
no more: `filters` does not touch extraction, `tokenizer` does not touch deduplication, `workers` nothing.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from data_prep.contract.settings import Settings


class ExtractConfig(Settings):
    """From a page's bytes to text."""

    engine: Literal["trafilatura", "resiliparse"] = "trafilatura"
    """Extractor: trafilatura in its fast mode is the better one, resiliparse six times as quick."""
    seconds: PositiveFloat = 10.0
    """Time limit for one document, in seconds; a page that takes longer is counted as a failure."""
    page_bytes: PositiveInt = 10_000_000
    """Largest page that is looked at, in bytes before extraction; larger ones are counted as failures."""


class FilterConfig(Settings):
    """Which documents stay. Each rule's value is stored; the thresholds here decide afterwards."""

    min_characters: int = Field(1, ge=0)
    """Shortest text that is kept, in characters."""
    max_characters: PositiveInt = 10_000_000
    """Longest text that is kept, in characters."""


class DedupConfig(Settings):
    """Documents that say the same."""

    exact: bool = True
    """Keep one of the documents whose texts are equal but for case and white space."""


class ShardConfig(Settings):
    """The layout of the finished dataset."""

    block_tokens: PositiveInt = 1 << 20
    """Tokens in a block, about: whole documents are laid end to end until it is full. A corpus of less than
    64 such blocks gets smaller ones, so that there is something to shuffle."""
    shard_bytes: PositiveInt = 256_000_000
    """Size of a tar shard, about, in bytes."""


class CorpusConfig(Settings):
    """Where the documents come from and which of them become the dataset."""

    kind: Literal["python_docs", "warc", "text", "jsonl"] = "python_docs"
    """What the corpus is: the documentation inside the installed Python packages, crawl files, plain text
    files, or JSON lines."""
    paths: list[str] = Field(default_factory=list)
    """Files, folders (with all that lies in them) and globs; python_docs needs none."""
    max_bytes: PositiveInt | None = None
    """Most text that is taken, in UTF-8 bytes before any filter; files are then taken in a seeded order."""
    validation_share: float = Field(0.01, gt=0.0, lt=1.0)
    """Share of the documents held out for validation."""
    workers: PositiveInt | None = None
    """Parts worked on at once on this machine; null takes its cores. The result does not depend on it."""
    part_bytes: PositiveInt = 64_000_000
    """Input of one unit of work, in bytes on disk; a larger file is one unit."""
    text_field: str = "text"
    """Key of the text in JSON lines; `id` and `url` are taken where they are there."""
    document_bytes: PositiveInt = 100_000
    """Plain text files longer than this are cut into documents of about this size, in UTF-8 bytes, at
    paragraph boundaries; the size of a long article, so that a book does not sit in one block alone."""
    extract: ExtractConfig = ExtractConfig()
    filters: FilterConfig = FilterConfig()
    dedup: DedupConfig = DedupConfig()
    shards: ShardConfig = ShardConfig()

    @model_validator(mode="after")
    def _has_paths(self) -> Self:
        if self.kind != "python_docs" and not self.paths:
            raise ValueError(f"paths is empty; kind {self.kind} needs at least one file, folder or glob")
        if self.kind == "python_docs" and self.paths:
            raise ValueError("kind python_docs takes no paths; kind text, jsonl or warc does")
        return self


class TokenizerConfig(Settings):
    """The SentencePiece model."""

    kind: Literal["unigram", "bpe"] = "unigram"
    """Algorithm; unigram makes slightly fewer tokens and encodes faster, bpe trains much faster."""
    vocabulary_size: PositiveInt = 16_384
    """Number of pieces, with the 111 reserved ones and the 256 bytes."""
    sample_bytes: PositiveInt = 20_000_000
    """Text that the model is trained on, in UTF-8 bytes, drawn from the training documents."""
    byte_fallback: bool = True
    """Whether characters without a piece become bytes; else they become <unk> and are lost."""
    character_coverage: float = Field(0.9995, gt=0.9, le=1.0)
    """Share of the sample's characters that get a piece of their own."""
    model: Path | None = None
    """An existing SentencePiece model with the reserved tokens, to use in place of training one; datasets
    that are to be mixed share one."""


class PrepConfig(Settings):
    """Everything that decides what the dataset holds."""

    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    seed: int = Field(1234, ge=0)
    """Seed of the order, the split and the samples."""
