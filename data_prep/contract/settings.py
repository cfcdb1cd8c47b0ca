"""The base of every configuration section, and the one error type that users see."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class InputError(ValueError):
    """Something the user gave is wrong: the message is one sentence with what, where and what would be right.

    The command line prints the message without a traceback and exits with status 2.
    """


class Settings(BaseModel):
    """A frozen section of a recipe: unknown keys are refused, every field is documented by its docstring."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    not_in_fingerprint: ClassVar[frozenset[str]] = frozenset()
    """Fields that say how the work is done and not what comes out: a change of them makes nothing stale."""

    later: ClassVar[frozenset[str]] = frozenset()
    """Fields added after runs existed: left out of `identity()` while they have their default."""

    def identity(self) -> dict[str, Any]:
        """The fields that decide what comes out, nested sections likewise, as plain values."""
        plain = self.model_dump(mode="json")
        left_out = set(self.not_in_fingerprint)
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in self.later and value == field.get_default(call_default_factory=True):
                left_out.add(name)
            elif isinstance(value, Settings):
                plain[name] = value.identity()
        return {name: value for name, value in plain.items() if name not in left_out}
