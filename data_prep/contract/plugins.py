"""What comes from outside the packages: installed, or named for a process and those that it starts."""

import os
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points

from data_prep.contract.settings import InputError


def from_outside(group: str, variable: str) -> Iterator[tuple[str, object]]:
    """Entry points of a group, then what a variable names as `MODULE:NAME,...`, each with where it was named.

    `InputError` where one of the variable's cannot be loaded.
    """
    for point in entry_points(group=group):
        yield f"entry point {point.name}", point.load()
    for place in filter(None, os.environ.get(variable, "").split(",")):
        module, _, name = place.strip().partition(":")
        try:
            yield place, getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise InputError(f"{variable}: {place} cannot be loaded ({error})") from error
