"""The experts' load in a training's report: the share of tokens that chose each, layer by layer, by step."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from data_prep.contract.report import Heatmap, Heatmaps, Part, Text
from pipeline.objectives.expert_shares import EXPERT_SHARE, share_name
from pipeline.tracking import metrics

PREFIX = f"validation_{EXPERT_SHARE}."
LAYERS = 4
"""In a picture; further ones are in further pictures."""


def load_of_experts(folder: Path) -> list[Part]:
    """Pictures of every layer with experts; none where there are no validations, or no experts."""
    lines = [
        line
        for line in metrics.read(folder / metrics.METRICS)
        if any(name.startswith(PREFIX) for name in line)
    ]
    if not lines:
        return []
    counts = experts_of(name for name in lines[-1] if name.startswith(PREFIX))
    panels = [panel(lines, layer, count) for layer, count in counts.items()]
    steps = f"validations from step {lines[0]['step']:,} to step {lines[-1]['step']:,}"
    words = "Share of tokens that chose each expert, on the validation's tokens; dropped ones count too."
    pictures = [
        Heatmaps(f"{folder.name}_experts_{first // LAYERS}", panels[first : first + LAYERS], steps, "expert")
        for first in range(0, len(panels), LAYERS)
    ]
    return [Text(words), *pictures]


def experts_of(names: Iterator[str]) -> dict[str, int]:
    """How many experts each layer has, from the names of metrics.

    >>> experts_of(iter(["validation_expert_share.blocks.1.0", "validation_expert_share.blocks.1.1"]))
    {'blocks.1': 2}
    """
    counts: dict[str, int] = {}
    for name in names:
        layer = name.removeprefix(PREFIX).rpartition(".")[0]
        counts[layer] = counts.get(layer, 0) + 1
    return counts


def panel(lines: Sequence[metrics.Line], layer: str, count: int) -> Heatmap:
    """Experts from the top down, validations from left to right."""
    rows = [
        [float(line.get(f"validation_{share_name(layer, expert)}") or 0.0) for line in lines]
        for expert in range(count)
    ]
    last = [row[-1] * count for row in rows]
    return Heatmap(f"{layer}: {min(last):.2f} to {max(last):.2f} of the mean", rows)
