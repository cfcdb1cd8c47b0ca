"""The forms that `bloomery scale` can fit, by name: a table in, a result out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.contract.report import Lines
from data_prep.contract.settings import InputError
from pipeline.scaling import charts, hoffmann, kaplan, repeated
from pipeline.scaling.allocation import Allocation
from pipeline.scaling.bootstrap import draws, redrawn
from pipeline.scaling.critical_batch import sweep
from pipeline.scaling.envelope import envelope
from pipeline.scaling.held_out import HeldOut, hold_out
from pipeline.scaling.isoflop import isoflop
from pipeline.scaling.minimize import Array
from pipeline.scaling.optimal import best, exponents
from pipeline.scaling.power_law import level, lines
from pipeline.scaling.result import LawFound, Plan, Result, values
from pipeline.scaling.surface import Fitted, Surface
from pipeline.scaling.table import Runs, enough, varies

PLANNED = ("parameters", "tokens", "loss")
LEAST_HELD_OUT = 4
"""Runs more than coefficients from which the largest are held out."""


@dataclass(frozen=True)
class Request:
    """What was asked of a form."""

    budgets: Sequence[float]
    """FLOPs."""
    resamples: int
    seed: int


@dataclass(frozen=True)
class Form:
    source: str
    fit: Callable[[Runs, Request], Result]


def by_hoffmann(runs: Runs, request: Request) -> Result:
    """Approach 3 with free and with tied exponents, for each way of counting that the table has."""
    runs = runs.counted("total")
    _both_vary(runs, "hoffmann", 5)
    laws: list[LawFound] = []
    plans: list[Plan] = []
    held: list[tuple[str, HeldOut]] = []
    drawn: list[Lines] = []
    other = runs.counted("non-embedding")
    for counted in [runs] if other.counts == runs.counts else [runs, other]:
        for surface in (hoffmann.surface(tie=False), hoffmann.surface(tie=True)):
            own, again = _fitted(surface, counted, request)
            name = f"{surface.name}, {counted.counts} parameters"
            law = _law(name, surface, own, again)
            growth = values(("a", "b"), exponents(own.theta[None])[0], exponents(again))
            laws.append(LawFound(name, [*law.values, *growth], law.converged, law.objective))
            if counted is runs:
                find = _finder(own.theta, again)
                plans += _plans(surface.name, find, request)
                drawn = drawn or charts.frontier(runs, request.budgets, find)
                held += _held_out(surface, runs, request)
    return _result("hoffmann", runs, laws, plans, held, drawn, _stuck(laws))


def by_hoffmann_early(runs: Runs, request: Request) -> Result:
    """Approach 3 with the mean of the terms and an absolute tolerance, from the published coefficients."""
    runs = runs.counted("total")
    _both_vary(runs, "hoffmann-early", 5)
    columns = runs.columns
    own = hoffmann.stopped_early(columns["parameters"], columns["tokens"], columns["loss"])
    surface = hoffmann.surface(tie=False)
    none = np.full_like(own.theta, np.nan)[None]  # how far resamples get from one start is no spread of a fit
    law = _law("stopped early", surface, own, none)
    growth = values(("a", "b"), exponents(own.theta[None])[0], exponents(none))
    found = [LawFound(law.name, [*law.values, *growth], law.converged, law.objective)]
    note = (
        "this is no fit: it shows where the mean of the terms stops, from the published coefficients alone; "
        "form hoffmann goes on to the minimum"
    )
    return _result(
        "hoffmann-early",
        runs,
        found,
        _plans("stopped early", _finder(own.theta, none), request),
        notes=[note],
    )


def by_kaplan(runs: Runs, request: Request) -> Result:
    """The joint law, and the laws of one variable."""
    runs = runs.counted("non-embedding")
    _both_vary(runs, "kaplan", 4)
    own, again = _fitted(kaplan.SURFACE, runs, request)
    find = _finder(kaplan.as_sum(own.theta[None])[0], kaplan.as_sum(again), own.theta[3:], again[:, 3])
    law = _law("L(N, D)", kaplan.SURFACE, own, again)
    growth = values(("a", "b"), exponents(kaplan.as_sum(own.theta[None]))[0], exponents(kaplan.as_sum(again)))
    laws = [LawFound(law.name, [*law.values, *growth], law.converged, law.objective)]
    drawn = charts.frontier(runs, request.budgets, find)
    columns = runs.columns
    for name, constant, label, (x, loss) in (
        ("L(N)", "N_c", "parameters", kaplan.best_losses(columns["parameters"], columns["loss"])),
        ("L(D)", "D_c", "tokens", kaplan.best_losses(columns["tokens"], columns["loss"])),
        ("L(C)", "C_c", "training FLOPs", kaplan.frontier(columns["flops"], columns["loss"])),
    ):
        if len(x) < 3:
            continue  # a frontier of two runs is no line
        one = kaplan.single(x, loss)
        line = lines(
            np.log(x),
            redrawn(np.log(loss) - one.residuals, one.residuals, 2, request.resamples, request.seed),
        )
        more = kaplan.constants(line)
        names = (constant, f"alpha_{constant[0]}")
        laws.append(LawFound(name, values(names, level(one.theta[None])[0], level(more))))
        law_text = f"{name} = ({name[2]} / {np.exp(one.theta[0]):.2g})^-{one.theta[1]:.3f}"
        drawn.append(charts.single(law_text, label, x, loss, one.theta, more))
    held = _held_out(kaplan.SURFACE, runs, request)
    notes = [
        "L(N) and L(D) go through the best loss of each size and each token count: they are laws of one "
        "variable only where the other one was plentiful"
    ]
    return _result(
        "kaplan", runs, laws, _plans("L(N, D)", find, request), held, drawn, [*_stuck(laws), *notes]
    )


def by_repeated(runs: Runs, request: Request) -> Result:
    """The law for data that is read several times."""
    runs = runs.counted("total")
    _both_vary(runs, "repeated", 6)
    unique = runs.column("unique_tokens", "repeated")
    once = repeated.once(runs.columns)
    for rows, what in ((once, "read their data once"), (~once, "read their data more than once")):
        if rows.sum() < repeated.LEAST:
            raise InputError(
                f"{runs.path}: {rows.sum()} runs {what}; form repeated needs {repeated.LEAST} of them"
            )
    own, again = _fitted(repeated.SURFACE, runs, request)
    laws = [_law("repeated data", repeated.SURFACE, own, again)]
    corpus = float(unique.max())

    def find(budget: float) -> tuple[Array, Array]:
        thetas = np.concatenate([own.theta[None], again])
        found = repeated.best(thetas, budget, corpus)
        return found[0], found[1:]

    held = _held_out(repeated.SURFACE, runs, request)
    notes = [
        *_stuck(laws),
        f"budgets are planned for the table's largest corpus, {corpus:.4g} distinct tokens",
    ]
    drawn = charts.frontier(runs, request.budgets, find)
    return _result("repeated", runs, laws, _plans("repeated data", find, request), held, drawn, notes)


def by_envelope(runs: Runs, request: Request) -> Result:
    """Approach 1."""
    runs = runs.counted("total")
    found = envelope(runs, request.resamples, request.seed)
    notes = [f"{found.late:.0%} of the best moments lie in the last 15 % of their run"]
    if found.late < 0.9:
        notes.append(
            "where a learning rate comes down, the others are moments of unfinished runs: add lengths"
        )
    notes.append(
        "with learning rates that come down the exponents of sizes are biased low, by more than the "
        "intervals say where lengths are few; form hoffmann on the last rows is not"
    )
    return _allocated("envelope", runs, found.allocation, request, [], notes)


def by_isoflop(runs: Runs, request: Request) -> Result:
    """Approach 2."""
    runs = runs.counted("total")
    found, profiles, refused = isoflop(runs, request.resamples, request.seed)
    notes = [f"a budget is left out: {sentence}" for sentence in refused]
    return _allocated("isoflop", runs, found, request, [charts.profiles(profiles)], notes)


def by_critical_batch(runs: Runs, request: Request) -> Result:
    """The critical batch over the loss."""
    if request.budgets:
        raise InputError("--budget is not for form critical-batch, which says nothing of sizes")
    found = sweep(runs, request.resamples, request.seed)
    law = values(("B*", "alpha_B"), level(found.law[None])[0], level(found.laws))
    laws = [LawFound("B_crit = B* / L^(1 / alpha_B)", law)]
    names = [f"B_crit at loss {loss:g}" for loss in found.loss]
    laws.append(LawFound("by loss, in tokens", values(names, found.critical, found.resampled)))
    return _result("critical-batch", runs, laws, drawn=[charts.critical(found)])


FORMS = {
    "hoffmann": Form("Hoffmann et al. 2022, section 3.3 (approach 3); Besiroglu et al. 2024", by_hoffmann),
    "envelope": Form("Hoffmann et al. 2022, section 3.1 (approach 1)", by_envelope),
    "isoflop": Form("Hoffmann et al. 2022, section 3.2 (approach 2)", by_isoflop),
    "hoffmann-early": Form(
        "Hoffmann et al. 2022, section 3.3, with the mean and tolerance that Besiroglu et al. 2024 name",
        by_hoffmann_early,
    ),
    "kaplan": Form("Kaplan et al. 2020, sections 3 and 4", by_kaplan),
    "critical-batch": Form("Kaplan et al. 2020, section 5.1; McCandlish et al. 2018", by_critical_batch),
    "repeated": Form("Muennighoff et al. 2023, section 4", by_repeated),
}


def _both_vary(runs: Runs, form: str, coefficients: int) -> None:
    for name in ("parameters", "tokens"):
        varies(runs, name, form)
    enough(runs, coefficients, form)


def _fitted(surface: Surface, runs: Runs, request: Request) -> tuple[Fitted, Array]:
    """The law of all runs, and of resamples [K, P]."""
    own = surface.fit(runs.columns)
    return own, surface.resampled(runs.columns, own.theta, draws(len(runs), request.resamples, request.seed))


def _law(name: str, surface: Surface, own: Fitted, again: Array) -> LawFound:
    shown = surface.shown(own.theta[None])[0]
    found = values(surface.coefficients, shown, surface.shown(again))
    return LawFound(name, found, own.converged, own.objective)


def _finder(
    theta: Array, again: Array, power: Array | None = None, powers: Array | None = None
) -> Callable[[float], tuple[Array, Array]]:
    """Best (N, D, L) for a budget, [3] and of resamples [K, 3]; losses to a power where the law has one."""

    def find(budget: float) -> tuple[Array, Array]:
        own, more = best(theta[None], budget), best(again, budget)
        if power is not None and powers is not None:
            own[:, 2], more[:, 2] = own[:, 2] ** power, more[:, 2] ** powers
        return own[0], more

    return find


def _plans(law: str, find: Callable[[float], tuple[Array, Array]], request: Request) -> list[Plan]:
    return [Plan(budget, law, values(PLANNED, *find(budget))) for budget in request.budgets]


def _held_out(surface: Surface, runs: Runs, request: Request) -> list[tuple[str, HeldOut]]:
    """Where there are runs enough."""
    if len(runs) < len(surface.coefficients) + LEAST_HELD_OUT + 1:
        return []
    return [(surface.name, hold_out(surface, runs, request.resamples, request.seed))]


def _stuck(laws: Sequence[LawFound]) -> list[str]:
    """What to say of fits that did not end, or do not fall."""
    notes = [f"{law.name}: the fit did not converge" for law in laws if not law.converged]
    for law in laws:
        for one in law.values:
            if one.name.startswith(("alpha", "beta")) and one.low <= 0:
                notes.append(f"{law.name}: {one.name} may be 0, so that the loss may not fall with it at all")
    return notes


def _allocated(
    form: str, runs: Runs, found: Allocation, request: Request, drawn: list[Lines], notes: list[str]
) -> Result:
    laws = [
        LawFound(
            f"{letter} = k C^{power}",
            values((f"k_{letter}", power), level(found.law[place][None])[0], level(found.lines[:, place])),
        )
        for place, (letter, power) in enumerate((("N", "a"), ("D", "b")))
    ]
    plans = [Plan(budget, form, values(PLANNED[:2], *found.at(budget))) for budget in request.budgets]
    return _result(form, runs, laws, plans, (), [*drawn, *charts.allocation(found, request.budgets)], notes)


def _result(
    form: str,
    runs: Runs,
    laws: Sequence[LawFound],
    plans: Sequence[Plan] = (),
    held_out: Sequence[tuple[str, HeldOut]] = (),
    drawn: Sequence[Lines] = (),
    notes: Sequence[str] = (),
) -> Result:
    counts = runs.counts if "parameters" in runs.columns else ""
    flops = runs.flops_are if "flops" in runs.columns else ""
    checked = [charts.predictions(str(place), found) for place, (_, found) in enumerate(held_out)]
    return Result(
        form,
        FORMS[form].source,
        runs.path,
        len(runs),
        counts,
        flops,
        laws,
        plans,
        held_out,
        [*drawn, *checked],
        notes,
    )
