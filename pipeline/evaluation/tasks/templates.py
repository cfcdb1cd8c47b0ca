"""Templates of prompts: Jinja over the columns of a row, in a sandbox that runs no code of a task file."""

import ast
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from data_prep.contract.names import printable
from data_prep.contract.settings import InputError
from pipeline.evaluation.tasks.patterns import replaced

if TYPE_CHECKING:
    from pipeline.prompting.sandbox import Sandbox

Row = Mapping[str, Any]


class MissingColumnError(ValueError):
    """A template names a column that a row does not have."""


def render(template: str, row: Row) -> str:
    """The text of a template. `MissingColumnError` names a column that is not there."""
    from jinja2 import UndefinedError

    try:
        return _sandbox().fill(_compiled(template), row)
    except UndefinedError as error:
        raise MissingColumnError(str(error.message)) from None
    except Exception as error:  # it is a program of somebody else's, which raises what it likes
        raise InputError(f"the template {_told(template)} cannot be filled in ({error})") from None


def value(template: str | int, row: Row) -> Any:
    """The value of a column where the template is its name, else the text of the template."""
    if isinstance(template, int):
        return template
    return row[template] if template in row else render(template, row)


def listed(template: str | list[str], row: Row) -> list[str]:
    """A list of texts: a column's, that of a template whose text is one, or each template's of a list."""
    if isinstance(template, list):
        return [render(one, row) for one in template]
    found = value(template, row)
    if isinstance(found, str):
        try:
            found = ast.literal_eval(found)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            raise InputError(f"the template {_told(template)} gives no list of texts") from None
    if not isinstance(found, list | tuple):
        raise InputError(f"the template {_told(template)} gives no list of texts")
    return [str(one) for one in found]


def check(template: str) -> None:
    """`InputError` where a template is not Jinja's."""
    _compiled(template)


@cache
def _compiled(template: str) -> Any:
    from jinja2 import TemplateError

    try:
        return _sandbox().from_string(template)
    except (TemplateError, RecursionError) as error:
        raise InputError(f"the template {_told(template)} is not Jinja ({error})") from None


@cache
def _sandbox() -> "Sandbox":
    """What lm-evaluation-harness renders with, within bounds."""
    from jinja2 import StrictUndefined

    from pipeline.prompting.sandbox import Sandbox

    sandbox = Sandbox(undefined=StrictUndefined, keep_trailing_newline=True)
    sandbox.filters["regex_replace"] = _regex_replace
    return sandbox


def _regex_replace(text: str, pattern: str, new: str, count: int = 0) -> str:
    return replaced(pattern, new, text, count)


def _told(template: str) -> str:
    return printable(repr(template[:80]))
