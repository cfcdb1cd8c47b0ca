"""The base of every configuration section, and the one error type that users see."""

from pydantic import BaseModel, ConfigDict


class InputError(ValueError):
    """Something the user gave is wrong: the message is one sentence with what, where and what would be right.

    The command line prints the message without a traceback and exits with status 2.
    """


class Settings(BaseModel):
    """A frozen section of a recipe: unknown keys are refused, every field is documented by its docstring."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
