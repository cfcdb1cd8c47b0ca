"""What the pieces found, as Markdown for people."""

from collections.abc import Mapping
from typing import Any

COLUMNS = (
    *("model, way", "parameters", "batch", "ms a step (lowest to highest)", "tokens/s", "TFLOP/s"),
    *("MFU", "of the ceiling", "GiB"),
)  # fmt: skip
FORMULA = (
    "MFU = model FLOPs of a step (pipeline.costs.flops: causal attention counted half, recomputation not at "
    "all) / (median seconds of a step x peak). The ceiling is a bare product in the shape of the model's "
    "MLP, measured in the same run."
)


def table(kept: Mapping[str, Mapping[str, Any]], device: str) -> str:
    """The whole page; pieces that failed stand in it with their reason."""
    found = {name: line["found"] for name, line in kept.items() if "found" in line}
    ceilings = found.get("ceiling", {})
    lines = [f"# {device}", ""]
    if "tests" in found:
        told = ", ".join(f"{value} {name}" for name, value in found["tests"].items() if name != "status")
        lines += [f"GPU tests: {told}", ""]
    steps = {name: figures for name, figures in found.items() if "ms" in figures}
    if steps:
        lines += [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
        lines += [row(name, figures, ceilings) for name, figures in steps.items()]
        lines += ["", FORMULA, f"Peak: {next(iter(steps.values()))['peak']}.", ""]
    for name, figures in found.items():
        if name != "tests" and "ms" not in figures:
            lines += [f"## {name}", "", *values(figures), ""]
    failed = {name: line["reason"] for name, line in kept.items() if "reason" in line}
    if failed:
        lines += ["## Not measured", "", *(f"- {name}: {reason}" for name, reason in failed.items()), ""]
    return "\n".join(lines)


def row(name: str, figures: Mapping[str, Any], ceilings: Mapping[str, float]) -> str:
    """One training."""
    mfu = f"{100 * figures['mfu']:.1f} %" if figures["mfu"] else "?"
    highest = ceilings.get(name.split(" | ")[0])
    share = f"{100 * figures['tflops'] / highest:.1f} %" if highest else "?"
    memory = f"{figures['gib']:.1f}" if figures["gib"] == figures["gib"] else "-"
    return (
        f"| {name.replace(' | ', ', ')} | {figures['parameters'] / 1e6:,.1f} M | {figures['samples']} "
        f"| {figures['ms']:.1f} ({figures['lowest']:.1f} to {figures['highest']:.1f}) "
        f"| {figures['tokens_per_second']:,.0f} | {figures['tflops']:.2f} | {mfu} | {share} | {memory} |"
    )


def values(figures: Mapping[str, Any], depth: int = 0) -> list[str]:
    """Names and numbers, and what stands below them."""
    lines = []
    for name, value in figures.items():
        if isinstance(value, Mapping):
            lines += [f"{'  ' * depth}- {name}:", *values(value, depth + 1)]
        else:
            lines.append(f"{'  ' * depth}- {name}: {f'{value:.4g}' if isinstance(value, float) else value}")
    return lines
