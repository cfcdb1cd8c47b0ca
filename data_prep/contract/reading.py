"""One checked reader for each format that comes from outside: JSON, JSON lines, YAML, NumPy arrays, zips.

Whatever is wrong with a file is one `InputError` that names it, and the line where there is one: missing, no
regular file, empty, too large, cut, not UTF-8, nested too deep, more when unpacked than when packed. What
the values mean is for the caller's schema to say. Nothing here runs what a file says, or takes memory for
more than is there.

`where` is what a sentence calls the content; a path needs none. Arrays and archives are in `binary`, the
checks of strings in `names`; this module has them too, so that one import is enough.
"""

import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import yaml

from data_prep.contract.binary import open_zip, read_array
from data_prep.contract.names import plain_name, printable, without_password, without_passwords
from data_prep.contract.opening import Where, called, opened, read_bytes
from data_prep.contract.settings import InputError
from data_prep.contract.utf8 import as_utf8, decoded

__all__ = [
    "LINE_BYTES",
    "open_zip",
    "plain_name",
    "printable",
    "read_array",
    "read_bytes",
    "read_json",
    "read_jsonl",
    "read_yaml",
    "without_password",
    "without_passwords",
]

JSON_BYTES = 128 << 20
"""Largest JSON file: the tokenizer.json of 260,000 pieces has 33 MB."""
LINE_BYTES = 100_000_000
YAML_BYTES = 1 << 20
DEPTH = 100
"""Deepest nesting of lists and mappings."""
NODES = 100_000
"""Most values of a YAML file once its aliases are written out."""
WRONG_VALUES = (ValueError, OverflowError, AttributeError, LookupError, RecursionError)
"""What PyYAML raises for dates and numbers that are none."""

MERGE = "tag:yaml.org,2002:merge"
"""The key `<<`, of which a mapping may have several."""

Skip = Callable[[int, InputError], None]


def read_json(source: Path | bytes, where: Where = "", *, limit: int = JSON_BYTES) -> Any:
    """The value in a JSON file, in UTF-8 or what its byte order mark says.

    NaN, infinite numbers and strings that no UTF-8 file can hold are refused: RFC 8259 does not have them.
    """
    name = called(source, where)
    content = read_bytes(source, where, limit=limit)
    try:
        text = decoded(content)
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not UTF-8 at byte {error.start}; JSON is expected") from None
    return _json(text, name, strict=True)


def read_jsonl(
    source: Path | bytes | IO[bytes],
    where: Where = "",
    *,
    strict: bool = True,
    skip: Skip | None = None,
    line_bytes: int = LINE_BYTES,
    once: str = "",
) -> Iterator[tuple[int, Any]]:
    """The number, from 1, and the value of every line that is not blank.

    A line with an object that has the key `once` several times is wrong: but one value would be seen.

    A line that is wrong ends the reading; with `skip` it is handed to that, and the next one follows. Not
    `strict`, NaN and half surrogate pairs pass, and bytes that are not UTF-8 become U+FFFD. Trouble of a
    stream that the caller opened, such as damage to its compression, is raised as it is.
    """
    name = called(source, where)
    if isinstance(source, Path):
        with opened(source, where) as file:
            yield from read_jsonl(file, name, strict=strict, skip=skip, line_bytes=line_bytes, once=once)
        return
    stream = as_utf8(io.BytesIO(source) if isinstance(source, bytes) else source)
    number = 0
    while line := stream.readline(line_bytes + 1):
        number += 1
        try:
            if len(line) > line_bytes:
                while line and not line.endswith(b"\n"):
                    line = stream.readline(line_bytes)
                raise InputError(f"{name}: line {number} is longer than {line_bytes:,} bytes, the limit")
            if line := line.removeprefix(b"\xef\xbb\xbf").strip():
                value = _line(line, f"{name}: line {number}", strict)
                if once and line.count(json.dumps(once).encode()) > 1 and _several(line, once):
                    raise InputError(f"{name}: line {number} has the key {once!r} several times")
                yield number, value
        except InputError as error:
            if skip is None:
                raise
            skip(number, error)


def _line(line: bytes, name: str, strict: bool) -> Any:
    try:
        return _json(line.decode("utf-8", "strict" if strict else "replace"), name, strict)
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not UTF-8 at its byte {error.start}; JSON is expected") from None


def _several(line: bytes, key: str) -> bool:
    """Whether the object in a line has a key more than once, of which a parser gives the last value alone."""
    told = [list[str]()]

    def note(pairs: list[tuple[str, Any]]) -> None:
        told[0] = [name for name, _ in pairs]  # that of the line's own object comes last

    json.loads(line.decode("utf-8", "replace"), object_pairs_hook=note)
    return told[0].count(key) > 1


def _json(text: str, name: str, strict: bool) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text else ""
        raise InputError(f"{name}: not JSON at {line}column {error.colno} ({error.msg})") from None
    except RecursionError:
        raise InputError(f"{name}: nested too deep for JSON; {DEPTH} levels are read") from None
    except (ValueError, MemoryError) as error:  # an integer of more digits than Python takes
        raise InputError(f"{name}: JSON that cannot be read ({error})") from None
    problem = _unfit(value) if strict else ""
    if problem:
        raise InputError(f"{name}: {problem}")
    return value


def _unfit(value: Any) -> str:
    """What no JSON may have, though Python's parser takes it."""
    level = [value]
    for _ in range(DEPTH + 1):
        below: list[Any] = []
        for one in level:
            if isinstance(one, str):
                if not one.isascii() and not _encodes(one):
                    return "a string with half of a surrogate pair, which no UTF-8 file can hold"
            elif isinstance(one, float):
                if not math.isfinite(one):
                    return f"a number that is {one}; JSON has finite ones alone"
            elif isinstance(one, dict):
                below += (*one.keys(), *one.values())
            elif isinstance(one, list):
                below += one
        if not below:
            return ""
        level = below
    return f"nested more than {DEPTH} levels deep"


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_yaml(source: Path | str | bytes, where: Where = "", *, limit: int = YAML_BYTES) -> Any:
    """The plain values of a YAML document; a string is its text. No objects, and no aliases that multiply."""
    name = called(source, where)
    try:
        if not isinstance(source, str):
            source = decoded(read_bytes(source, where, limit=limit))
        if len(source) > limit:
            raise InputError(f"{name}: larger than {limit:,} characters, which is the limit")
        loader = _Loader(source)
        node = loader.get_single_node()
        if _written_out(node, {}) > NODES:
            raise InputError(f"{name}: its aliases stand for more than {NODES:,} values, which is the limit")
        return None if node is None else loader.construct_document(node)
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not UTF-8 at byte {error.start}; YAML is expected") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
        raise InputError(f"{name}: not YAML{line} ({printable(str(problem))})") from None
    except InputError:
        raise
    except WRONG_VALUES as error:
        raise InputError(f"{name}: a value that YAML cannot have ({printable(str(error))[:200]})") from None


class _Loader(yaml.SafeLoader):
    """Refuses deep nesting before it is met by recursion, and keys that are there twice."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"nested more than {DEPTH} levels deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                if (key.tag, key.value) in seen:
                    problem = f"the key {key.value[:100]!r} is there twice, and one would be lost"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add((key.tag, key.value))
        return node


def _written_out(node: Any, known: dict[int, int]) -> int:
    """The number of values below a node where every alias stands for what it names."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = NODES + 1  # while it is looked at: a node in itself has no end
        pairs = isinstance(node, yaml.MappingNode)
        inside = [one for pair in node.value for one in pair] if pairs else node.value
        known[id(node)] = 1 + sum(_written_out(one, known) for one in inside)
    return known[id(node)]
