"""What `bloomery plan` shows: tables for a terminal, and the curves of scaling as images.

OUT/plots/*.png
"""

from collections.abc import Sequence
from pathlib import Path

from data_prep.contract.receipt import write_atomic
from data_prep.contract.report import Cell, Lines, Table, short
from pipeline.planning.answer import Answer
from pipeline.planning.budget import Best
from pipeline.planning.growth import Point

GIB = 1 << 30
PLOTS = "plots"


def layouts(answers: Sequence[Answer]) -> Table:
    """One row for each."""
    priced = answers[0].cost is not None
    head = ["tensor", "pipeline", "data", "ZeRO", "micro batch", "recompute", "GiB a GPU", "s a step"]
    head += ["tokens/s", "MFU", "HFU", "days", *(["cost"] if priced else [])]
    return Table(head, [_row(one) for one in answers], frozenset(range(len(head))) - {5})


def _row(one: Answer) -> list[Cell]:
    plan, layout = one.plan, one.plan.layout
    cells = [str(size) for size in (layout.tensor, layout.pipeline, layout.data, layout.zero_stage)]
    cells += [str(layout.micro_batch), layout.recompute, f"{plan.memory.total / GIB:.1f}"]
    cells += [f"{plan.step.seconds:.3g}", short(plan.tokens_per_second), f"{plan.mfu:.1%}", f"{plan.hfu:.1%}"]
    return [*cells, f"{one.hours / 24:,.3g}", *([f"{one.cost:,.0f}"] if one.cost is not None else [])]


def parts(one: Answer) -> str:
    """What the fastest layout's step goes to."""
    step = one.plan.step
    shares = sorted(vars(step).items(), key=lambda part: -part[1])
    told = ", ".join(f"{name} {seconds / step.seconds:.0%}" for name, seconds in shares if seconds > 0)
    return f"a step of the first: {told}"


def saved(one: Answer) -> str:
    """Checkpoints and failures."""
    found = one.saving
    return (
        f"checkpoint: {one.checkpoint_bytes / 1e9:,.0f} GB, copied in {one.stall_seconds:.1f} s and written "
        f"behind the training in {one.write_seconds:,.0f} s; one every {found.interval / 60:,.0f} minutes "
        f"loses least with {found.failures_per_day:.2g} failures a day, and leaves {found.useful:.1%} of the "
        "time (Daly 2006)"
    )


def doubled(one: Answer, twice: Answer) -> str:
    """What twice the GPUs change."""
    layout = twice.plan.layout
    faster = one.hours / twice.hours
    return (
        f"twice the GPUs: {faster:.2f} times as fast ({twice.hours / 24:,.3g} days), "
        f"{twice.gpu_hours / one.gpu_hours - 1:+.0%} GPU hours, with tensor {layout.tensor}, pipeline "
        f"{layout.pipeline}, data {layout.data}, ZeRO {layout.zero_stage}, MFU {twice.plan.mfu:.1%}"
    )


def optimum(best: Best, parameters: float, tokens: float, loss: float | None) -> str:
    """The best size for the FLOPs of this training."""
    told = (
        f"for {best.flops:.3g} FLOPs (6ND) the law {best.law} has {short(best.parameters)} parameters and "
        f"{short(best.tokens)} tokens as best"
    )
    if best.loss is not None and loss is not None:
        told += f", with a loss of {best.loss:.3f}; this model's {loss:.3f}"
    there = best.tokens / best.parameters
    return f"{told}; here are {tokens / parameters:.1f} tokens a parameter, there {there:.1f}"


def growth(strong: Sequence[Point], weak: Sequence[Point]) -> Table:
    """The curves as numbers."""
    rows: list[list[Cell]] = []
    for name, points in (("one global batch", strong), ("a batch that grows", weak)):
        for one in points:
            layout, shares = one.plan.layout, one.shares()
            cells = [name, f"{one.plan.cluster.devices:,}", f"{layout.global_batch:,}"]
            cells += [f"{layout.tensor} x {layout.pipeline} x {layout.data}", short(one.per_gpu)]
            cells += [f"{one.plan.mfu * one.useful:.1%}", *(f"{shares[part]:.1%}" for part in shares)]
            rows.append(list(cells))
    head = ["scaling", "GPUs", "batch", "tensor x pipeline x data", "tokens/s a GPU", "MFU in all"]
    names = list((strong or weak)[0].shares()) if strong or weak else []
    return Table([*head, *names], rows, frozenset(range(1, len(head) + len(names))))


def draw(charts: Sequence[Lines], out: Path) -> list[Path]:
    """Write the charts as images; returns their paths."""
    from pipeline.reports.plots import lines, png, styled

    (out / PLOTS).mkdir(parents=True, exist_ok=True)
    places = []
    with styled():
        for chart in charts:
            place = out / PLOTS / f"{chart.name}.png"
            write_atomic(place, png(lines(chart)))
            places.append(place)
    return places
