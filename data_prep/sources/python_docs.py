"""Documentation inside the installed Python packages: real English on every machine, with no network.

A module becomes one document: its docstring, then each class and function as its signature followed by its
docstring. Sources are parsed with `ast`; nothing is imported. A package's long description is a document too.
Pairs of (signature, one-line summary) are taken along for instruction tuning.
"""

import ast
import csv
import hashlib
import importlib.metadata
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.contract.receipt import fingerprint
from data_prep.documents import Failure, Page
from data_prep.sources.files import InputFile
from data_prep.sources.streams import count_read

MINIMUM_CHARACTERS = 200
_TESTS = re.compile(r"(^|/)(tests?|testing|_tests?|idlelib|lib2to3|conftest|test_[^/]*|[^/]*_test)(/|\.py$)")


@dataclass(frozen=True)
class Installed:
    """The files to read, and a fingerprint of all that is installed."""

    files: list[InputFile]
    fingerprint: str


def installed() -> Installed:
    """Modules of the standard library and of every distribution that lists its files (RECORD)."""
    files = {file.name: file for file in _standard_library()}
    seen = [f"python {sys.version}"]
    for distribution in importlib.metadata.distributions():
        record = distribution.read_text("RECORD")
        if not record or distribution.metadata["Name"] == "bloomery":
            continue
        seen.append(hashlib.sha256(record.encode()).hexdigest())
        root = Path(str(distribution.locate_file("")))
        for file in _recorded(record, root):
            files.setdefault(file.name, file)
    return Installed(list(files.values()), fingerprint(sorted(seen)))


def _standard_library() -> Iterator[InputFile]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in root.rglob("*.py"):
        name = path.relative_to(root).as_posix()
        if "site-packages/" not in name and "dist-packages/" not in name and not _TESTS.search(name):
            yield InputFile(str(path), name, path.stat().st_size, 0)


def _recorded(record: str, root: Path) -> Iterator[InputFile]:
    """RECORD has a line (path, hash, size) for each file that a distribution installed."""
    for row in csv.reader(record.splitlines()):
        name, digest, size = (*row, "", "")[:3]
        wanted = (name.endswith(".py") and not _TESTS.search(name)) or name.endswith(".dist-info/METADATA")
        if wanted and size.isdigit() and not name.startswith(".."):
            modified = int.from_bytes(digest.encode()[-7:], "little")  # stands for the content here
            yield InputFile(str(root / name), name, int(size), modified)


def read(file: InputFile) -> Iterator[Page | Failure]:
    """The document in one file; nothing where there is too little documentation in it."""
    try:
        source = Path(file.path).read_bytes()
        count_read(len(source))
    except OSError as error:
        yield Failure(file.name, 0, "unreadable file", error.strerror or str(error))
        return
    if file.name.endswith("METADATA"):
        yield from _description(file.name, source)
    elif b'"""' in source or b"'''" in source:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in other people's code
                tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            yield Failure(file.name, 0, "does not parse", f"{type(error).__name__}: {error}")
            return
        yield from _module(file.name, tree)


def _description(name: str, source: bytes) -> Iterator[Page]:
    """The body of a METADATA file, or its Description header in the older form."""
    header, _, body = source.decode("utf-8", "replace").partition("\n\n")
    if not body.strip():
        _, _, folded = header.partition("\nDescription: ")
        body = re.sub(r"\n(?: {8}|\t)", "\n", folded)
    if len(body) >= MINIMUM_CHARACTERS:
        yield Page(name, 0, body)


def _module(name: str, tree: ast.Module) -> Iterator[Page]:
    entries = list(_entries(tree, ""))
    if sum(len(docstring) for _, docstring in entries) < MINIMUM_CHARACTERS:
        return
    title = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    texts = [title]
    for signature, docstring in entries:
        indented = "\n".join("    " + line if line else "" for line in docstring.split("\n"))
        texts.append(f"{signature}\n{indented}" if signature else docstring)
    yield Page(name, 0, "\n\n".join(texts), pairs=tuple(_pairs(entries)))


def _entries(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, str]]:
    """(signature, docstring) of a module (empty signature) or class and of what is defined in its body."""
    if isinstance(node, ast.Module) and (docstring := ast.get_docstring(node)):
        yield "", docstring
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            docstring = ast.get_docstring(child)
            if docstring:
                bases = ", ".join(ast.unparse(base) for base in child.bases)
                yield f"class {prefix}{child.name}" + (f"({bases})" if bases else ""), docstring
            yield from _entries(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(child)
            if docstring:
                yield _signature(child, prefix), docstring


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, prefix: str) -> str:
    keyword = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{keyword} {prefix}{node.name}({ast.unparse(node.args)}){returns}"


_USELESS = re.compile(
    r"^(see|alias|deprecated|same as|refer|inherited|override|overrides|todo|internal|private|test|tests|"
    r"docstring|this (method|function|class|is)|\.\.|:|@|\*|>>>)\b|\{|\}|%\(|:(func|class|meth|ref|doc)|``|"
    r"__\w+__|\bself\b|implements? ",
    re.IGNORECASE,
)


def _pairs(entries: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(signature, summary) of the functions whose docstring's first paragraph is one plain sentence."""
    for signature, docstring in entries:
        summary = docstring.split("\n\n")[0].strip()
        useful = "\n" not in summary and 25 <= len(summary) <= 160 and len(summary.split()) >= 5
        words = summary.isascii() and summary[:1].isupper() and summary.endswith(".")
        if (
            "def " in signature
            and len(signature) <= 400
            and useful
            and words
            and not _USELESS.search(summary)
        ):
            yield signature, summary
