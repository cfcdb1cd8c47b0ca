"""Templates of prompts: Jinja over the columns of a row, in a sandbox that runs no code of a task file."""

import ast
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from data_prep.contract.names import printable
from data_prep.contract.settings import InputError

Row = Mapping[str, Any]


class MissingColumnError(ValueError):
    """A template names a column that a row does not have."""


def render(template: str, row: Row) -> str:
    """The text of a template. `MissingColumnError` names a column that is not there."""
    from jinja2 import TemplateError, UndefinedError

    try:
        return str(_compiled(template).render(**row))
    except UndefinedError as error:
        raise MissingColumnError(str(error.message)) from None
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
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
    from jinja2 import TemplateSyntaxError

    try:
        return _environment().from_string(template)
    except TemplateSyntaxError as error:
        raise InputError(f"the template {_told(template)} is not Jinja ({error.message})") from None


@cache
def _environment() -> Any:
    """What lm-evaluation-harness renders with, in a sandbox."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = _regex_replace
    return environment


def _regex_replace(text: str, pattern: str, new: str, count: int = 0) -> str:
    return re.sub(pattern, new, text, count=count)


def _told(template: str) -> str:
    return printable(repr(template[:80]))
