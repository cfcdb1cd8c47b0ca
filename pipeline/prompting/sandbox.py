"""Templates: programs in Jinja that somebody else wrote, run within bounds.

They reach nothing but what they are given (Jinja's immutable sandbox), and one that loops, recurses or grows
without end is stopped: by steps, by time and by memory. Chat templates of published folders get what
transformers gives them: the messages, `add_generation_prompt`, the special tokens by name,
`raise_exception`, `strftime_now`, `tojson`.
"""

import json
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cache, lru_cache, wraps
from pathlib import Path
from typing import Any

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from data_prep.contract.reading import printable
from data_prep.contract.settings import InputError

LONGEST = 1 << 20
"""Characters of a template; the longest published ones have some 20,000."""
STEPS, SECONDS, BYTES = 1_000_000, 10.0, 1 << 30
"""Most rounds of loops, calls and filters of one rendering; its time; what it may take of memory."""
TODAY = date(2025, 1, 1)
"""What `strftime_now` tells: the same words every day, so that the ids of a talk depend on nothing else."""
_COUNTED = "bloomery_counted"


class _Bounds:
    """What is left of the steps and the time of one rendering."""

    steps, end = STEPS, float("inf")

    def begin(self) -> None:
        self.steps, self.end = STEPS, time.monotonic() + SECONDS

    def step(self) -> None:
        self.steps -= 1
        if self.steps < 0 or time.monotonic() > self.end:
            raise TemplateError(f"it takes more than {STEPS:,} steps or {SECONDS:.0f} s")

    def counted(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self.step()
            yield value

    def stepping(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)  # which keeps what Jinja wants to hand it besides
        def one(*args: Any, **kwargs: Any) -> Any:
            self.step()
            return function(*args, **kwargs)

        return one


class _Generation(Extension):
    """`{% generation %}` marks what a trainer may learn; it changes no text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja with every step of a rendering counted; `options` are those of its `Environment`."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.bounds = _Bounds()
        self.filters = {name: self.bounds.stepping(one) for name, one in self.filters.items()}
        self.globals |= {_COUNTED: self.bounds.counted}

    def fill(self, template: Template, values: Mapping[str, Any]) -> str:
        """The text of a template of this sandbox; `TemplateError` where it goes beyond the bounds.

        Else what the template raises, which may be anything.
        """
        self.bounds.begin()
        with _memory():
            said = template.render(values)
        if len(said) > BYTES >> 5:
            raise TemplateError("it makes a text of more than 33 million characters")
        return said

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            if loop.recursive:
                raise TemplateError("it has a recursive loop")
            counted = nodes.Name(_COUNTED, "load", lineno=loop.lineno)
            loop.iter = nodes.Call(counted, [loop.iter], [], None, None, lineno=loop.lineno)
        return tree

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        __self.bounds.step()
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self.bounds.step()
        if operator == "**" or (operator == "*" and max(map(_extent, (left, right))) > LONGEST):
            raise TemplateError(f"it calculates with {operator} beyond its bounds")
        return super().call_binop(context, operator, left, right)


def _extent(value: Any) -> float:
    return abs(value) if isinstance(value, int | float) else len(value) if hasattr(value, "__len__") else 0


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **more: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **more)


@cache
def _chats() -> Sandbox:
    """As transformers sets Jinja up for chat templates."""
    sandbox = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    sandbox.filters["tojson"] = _tojson
    sandbox.globals |= {"raise_exception": _refuse, "strftime_now": TODAY.strftime}
    return sandbox


@lru_cache(maxsize=8)
def _compiled(text: str) -> Template:
    return _chats().from_string(text)


def render(
    text: str, path: Path, messages: Sequence[Mapping[str, str]], answer: bool, tokens: Mapping[str, str]
) -> str:
    """What a template makes of a talk; with `answer` an answer is asked for at its end.

    `InputError`, which names `path`, where the template is none, refuses the talk, or has no end.
    """
    try:
        if len(text) > LONGEST:
            raise TemplateError(f"it is longer than {LONGEST:,} characters")
        talk = {"messages": messages, "add_generation_prompt": answer, "tools": None, "documents": None}
        return _chats().fill(_compiled(text), {**talk, **tokens})
    except Exception as error:  # it is a program of somebody else's, which raises what it likes
        problem = printable(" ".join((str(error) or type(error).__name__).split()))[:300]
        raise InputError(f"{path}: its chat template cannot write this talk ({problem})") from None


@contextmanager
def _memory() -> Iterator[None]:
    """Let this process take so much memory more, and no more than that."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = [held + BYTES, *(one for one in before if one != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
