"""What all tasks are told: how to read their files."""

from typing import Literal

from pydantic import Field, PositiveFloat

from data_prep.contract.settings import Settings
from pipeline.tasks.rows import Row

Format = Literal["auto", "jsonl", "json", "csv", "tsv", "parquet", "conll"]


class ReadConfig(Settings):
    format: Format = "auto"
    """What the files are; auto goes by their names (.jsonl, .json, .csv, .tsv, .parquet, .conll or .txt, each
    perhaps with .gz or .xz)."""
    columns: list[str] = Field(default_factory=list)
    """Names of the columns of files without a first line of names; empty takes that line."""
    quotes: bool | None = None
    """Whether cells of CSV and TSV may stand in double quotes; null says so of CSV alone."""


class TaskSettings(Settings):
    """A stage's `task`; which keys it has depends on its kind."""

    read: ReadConfig = ReadConfig()
    long_texts: Literal["cut", "refuse"] = "cut"
    """What becomes of texts that there is no room for in data.sequence_length: they lose their ends, which is
    counted and told, or nothing is trained. Question answering reads them in windows."""

    def read_of(self, name: str) -> ReadConfig:
        """How to read a file that goes by a name in the recipe."""
        del name
        return self.read

    def named(self, row: Row, name: str) -> Row:
        """A row of that file, which may have to say which one it is of."""
        del name
        return row


class TextsSettings(TaskSettings):
    """A task about one text or a pair of texts."""

    text: str = "text"
    """Column of the text."""
    second: str = ""
    """Column of the second text of a pair; empty where there is one text."""


class LabelledSettings(TextsSettings):
    label: str = "label"
    """Column of the label."""
    class_weights: Literal["none", "balanced"] | dict[str, PositiveFloat] = "none"
    """Weight of each label's rows in the loss; balanced has all labels weigh the same together."""
