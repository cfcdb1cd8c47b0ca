"""What a stage has to say for itself in the report, as plain data: the report alone makes pages of it.

Nothing here is HTML, so that whatever a document or a recipe holds is escaped in one place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Headline:
    """One figure with its name, and the smaller words that make it mean something."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """A cell that is a bar, of this share of the full width."""

    share: float


@dataclass(frozen=True)
class Code:
    """A cell or paragraph in the type of code; line breaks stay."""

    text: str
    caption: str = ""
    """Small words above it."""
    blanks: bool = False
    """Whether blanks and what fills them («...», <mask>) are marked."""


Cell = str | Bar | Code


@dataclass(frozen=True)
class Table:
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: frozenset[int] = frozenset()
    """Columns that stand on the right."""
    classes: str = ""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Curves:
    """What a training logged over its steps, drawn by the report: loss, other metrics, speed, schedule."""


@dataclass(frozen=True)
class Panel:
    """One group of horizontal bars."""

    title: str
    rows: Sequence[tuple[str, float, str]]
    """Name, length and label of each bar."""


@dataclass(frozen=True)
class Bars:
    """A chart of bars, panel below panel."""

    name: str
    """Of its file among the plots."""
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Line:
    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    """Where each interval begins; empty without intervals."""
    high: Sequence[float] = ()
    style: Literal["both", "points", "line"] = "both"
    """Points joined by a line, points alone, or a line alone, whose intervals are a band."""


@dataclass(frozen=True)
class Lines:
    """A chart of lines with intervals, and levels to compare them with."""

    name: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    levels: Mapping[str, float] = field(default_factory=dict)
    share: bool = False
    """Whether y is a share, shown in percent from 0 to 1, and x counts of something: equally far apart."""
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Heatmap:
    """A matrix of shares; what is 0 is white."""

    title: str
    rows: Sequence[Sequence[float]]
    """From the top down."""


@dataclass(frozen=True)
class Picture:
    """A PNG file that a stage has made, shown as it is."""

    path: str
    text: str
    """What stands for it where it is not shown."""


@dataclass(frozen=True)
class Heatmaps:
    """Matrices side by side."""

    name: str
    """Of its file among the plots."""
    panels: Sequence[Heatmap]
    x_label: str
    y_label: str


Part = Table | Text | Code | Curves | Bars | Lines | Heatmaps | Picture


@dataclass(frozen=True)
class Section:
    title: str
    parts: Sequence[Part]
    front: bool = False
    """Whether it stands before all others."""


@dataclass(frozen=True)
class StageReport:
    """What one stage says of itself, and of the models that it has looked at."""

    headlines: Sequence[Headline] = ()
    """Figures for the front, the most telling first."""
    sections: Sequence[Section] = ()
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What it found of each model, by the name the model is shown under."""
    places: Mapping[str, str] = field(default_factory=dict)
    """The folder of each of these models."""
    levels: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Losses to compare a run's with, by the run's folder and what they are of."""
    commands: Sequence[str] = ()
    """What to do with the run that it made, as lines for a shell with RUN where its folder goes."""


def percent(part: float, whole: float) -> str:
    """A share in percent."""
    return f"{part / whole:.1%}" if whole else "0 %"


def short(number: float) -> str:
    """A count in three digits: 1234567 is 1.23 M."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g}"
