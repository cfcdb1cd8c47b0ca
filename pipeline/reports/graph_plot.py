"""The stages of a work folder as a picture: what each reads stands to its left.

A stage that has ended is filled, one that has begun has a heavy edge, one that has not is grey.
"""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from pipeline.reports.graph import Node, duration, layout
from pipeline.reports.plots import GREY, PALETTE, STYLE, plain

WIDTH, HEIGHT, ACROSS, DOWN = 1.7, 0.62, 2.3, 0.9
"""Of a box and from one to the next, in inches."""
BEND = 0.35
"""How far from a straight line the middle of an arrow that goes round is pulled, as a share of its length."""
MARGIN = 0.1
LETTERS = 20
"""Of a name that fits into a box."""
LOOKS = {"done": ("#e8edf5", PALETTE[0], 1.0), "begun": ("#fbeee3", PALETTE[1], 1.8)}
NOT_BEGUN = ("#ffffff", "#c5cad3", 1.0)


def drawn(stages: Sequence[Node]) -> Figure:
    """The picture."""
    places = layout({node.name: node.needs for node in stages})
    across = 1 + max((column for column, _ in places.values()), default=0)
    down = 1 + max((row for _, row in places.values()), default=0.0)
    width, height = across * ACROSS, down * DOWN
    arrows = [(places[one], places[node.name]) for node in stages for one in node.needs if one in places]
    lowest = max((lowest_of(*ends) for ends in arrows if far(*ends)), default=0.0)
    below = max(0.0, lowest + MARGIN - (height - DOWN / 2))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height + below))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(
            xlim=(-(ACROSS - WIDTH) / 2, width - (ACROSS - WIDTH) / 2),
            ylim=(height - DOWN / 2 + below, -DOWN / 2),
        )
        for start, end in arrows:
            axes.add_patch(_arrow(_corner(start), _corner(end), far(start, end)))
        for node in stages:
            _box(axes, node, _corner(places[node.name]))
    return figure


def far(start: tuple[int, float], end: tuple[int, float]) -> bool:
    """Whether a straight arrow would run through the boxes between two columns of one row."""
    return end[0] - start[0] > 1 and start[1] == end[1]


def lowest_of(start: tuple[int, float], end: tuple[int, float]) -> float:
    """How far down, in inches, an arrow that goes round comes: half of what its middle is pulled."""
    return start[1] * DOWN + BEND / 2 * ((end[0] - start[0]) * ACROSS - WIDTH)


def _corner(place: tuple[int, float]) -> tuple[float, float]:
    """The middle of a box's left edge."""
    return place[0] * ACROSS, place[1] * DOWN


def _arrow(start: tuple[float, float], end: tuple[float, float], bent: bool) -> FancyArrowPatch:
    """From the right edge of one box to the left edge of another."""
    return FancyArrowPatch(
        (start[0] + WIDTH, start[1]),
        end,
        arrowstyle="-|>",
        connectionstyle=f"arc3,rad={BEND if bent else 0}",
        mutation_scale=9,
        color="#9aa1ad",
        linewidth=1,
        shrinkA=0,
        shrinkB=0,
    )


def _box(axes: Axes, node: Node, corner: tuple[float, float]) -> None:
    face, edge, heavy = LOOKS.get(node.state, NOT_BEGUN)
    x, y = corner
    axes.add_patch(
        FancyBboxPatch(
            (x, y - HEIGHT / 2),
            WIDTH,
            HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=face,
            edgecolor=edge,
            linewidth=heavy,
        )
    )
    name = node.name if len(node.name) <= LETTERS else node.name[: LETTERS - 1] + "…"
    took = "" if node.seconds is None else f", {duration(node.seconds)}"
    words = node.state if node.state != "done" else f"{node.kind}{took}"
    middle = x + WIDTH / 2
    axes.text(middle, y - 0.09, plain(name), ha="center", va="center", fontweight="bold", fontsize=9)
    axes.text(middle, y + 0.14, plain(words), ha="center", va="center", fontsize=7.5, color=GREY)
