"""The base of every configuration section, and the one error type that users see."""

from collections.abc import Mapping
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError


def _kinds(annotation: Any) -> list[Any]:
    """What an annotation is made of: of `Annotated[int, Gt(0)] | None` int, Gt(0) and None."""
    inside = get_args(annotation)
    return [one for part in inside for one in _kinds(part)] if inside else [annotation]


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

    renamed: ClassVar[Mapping[str, str]] = {}
    """Fields by the names that they had before: these are taken, and stand in fingerprints for good."""

    @model_validator(mode="before")
    @classmethod
    def _as_it_is_meant(cls, given: Any) -> Any:
        named = cls.with_new_names(given)
        if switches := cls._switches_for_numbers(named):
            raise ValidationError.from_exception_data(cls.__name__, switches)
        return named

    @classmethod
    def _switches_for_numbers(cls, given: Any) -> list[InitErrorDetails]:
        """YAML reads `yes` and `on` as true, which would count as 1; a problem for each of them."""
        found: list[InitErrorDetails] = []
        for name, value in given.items() if isinstance(given, Mapping) else ():
            field = cls.model_fields.get(name) if isinstance(value, bool) else None
            kinds = _kinds(field.annotation) if field else []
            if (int in kinds or float in kinds) and bool not in kinds:
                words = f"{str(value).lower()} is a switch; a number is expected"
                found.append(
                    {"type": PydanticCustomError("value_error", words), "loc": (name,), "input": value}
                )
        return found

    @classmethod
    def with_new_names(cls, given: Any) -> Any:
        """Plain values with the names that fields have now. ValueError where both are there."""
        if not isinstance(given, Mapping) or not cls.renamed.keys() & given.keys():
            return given
        for old, new in cls.renamed.items():
            if old in given and new in given:
                raise ValueError(f"{old} is called {new} now; give it once")
        return {cls.renamed.get(name, name): value for name, value in given.items()}

    def identity(self) -> dict[str, Any]:
        """The fields that decide what comes out, nested sections likewise, as plain values."""
        return self._values(self.not_in_fingerprint)

    def settled(self) -> dict[str, Any]:
        """All fields but those of `later` that have their default, nested sections likewise."""
        return self._values(None)

    def _values(self, left_out: frozenset[str] | None) -> dict[str, Any]:
        plain = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in (left_out or ()) or (
                name in self.later and value == field.get_default(call_default_factory=True)
            ):
                del plain[name]
            elif isinstance(value, Settings):
                plain[name] = value.settled() if left_out is None else value.identity()
        before = {new: old for old, new in self.renamed.items()}
        return {before.get(name, name): value for name, value in plain.items()}
