"""`bloomery scale`: a scaling law from a table of finished runs.

bloomery scale --table runs.csv --form hoffmann --budget 1e21 --out scaling/
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.contract.settings import InputError
from pipeline.reports.scaling import basis, coefficients, plans, summary, table_lines, write_report
from pipeline.scaling.forms import FORMS, Request
from pipeline.scaling.table import read_table


def scale(
    table: Path, form: str, request: Request, drop_highest: int, out: Path | None, say: Callable[[str], None]
) -> dict[str, Any]:
    """Fit, tell, and with `out` write the report; the numbers for --json."""
    if form not in FORMS:
        raise InputError(f"--form {form}: there are {', '.join(FORMS)}")
    if any(not 0 < budget < float("inf") for budget in request.budgets):
        raise InputError("--budget is a number of FLOPs above 0, such as 1e21")
    result = FORMS[form].fit(read_table(table, drop_highest), request)
    say(basis(result))
    for line in table_lines(coefficients(result)):
        say(line)
    if result.plans:
        say("")
        for line in table_lines(plans(result)):
            say(line)
    for note in [*(summary(found, name) for name, found in result.held_out), *result.notes]:
        say(note)
    numbers = result.json()
    if out is not None:
        page = write_report(result, out)
        say(f"report: {page}")
        numbers["report"] = str(page)
    return numbers
