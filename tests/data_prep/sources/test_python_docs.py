from pathlib import Path

import pytest

from data_prep.documents import Failure, Page
from data_prep.sources import python_docs
from data_prep.sources.files import InputFile

MODULE = '''"""Shapes and what can be measured of them, for a test that needs some hundred characters of text.

They are flat, they are few, and nothing about them is surprising to anyone who has seen a shape before.
"""

class Square(Base, metaclass=Meta):
    """A square with equal sides."""

    def area(self, scale: float = 1.0, *, unit="m") -> float:
        """Compute the area of the square in units.

        More about it.
        """

    async def undocumented(self): ...

def helper():
    def inner():
        """Not shown: it is inside."""
    """not a docstring"""

def see_other(x):
    """See the other function for what this does."""
'''


def read(path: Path, text: str) -> list[Page | Failure]:
    path.write_text(text)
    return list(python_docs.read(InputFile(str(path), "pkg/shapes.py", len(text), 0)))


def test_a_module_becomes_one_readable_document(tmp_path: Path) -> None:
    [page] = read(tmp_path / "shapes.py", MODULE)
    assert isinstance(page, Page)
    assert isinstance(page.content, str)
    assert page.content.startswith("pkg.shapes\n\nShapes and what can be measured")
    assert page.content.endswith(
        "class Square(Base)\n    A square with equal sides.\n\n"
        "def Square.area(self, scale: float=1.0, *, unit='m') -> float\n"
        "    Compute the area of the square in units.\n\n    More about it.\n\n"
        "def see_other(x)\n    See the other function for what this does."
    )
    assert page.pairs == (
        (
            "def Square.area(self, scale: float=1.0, *, unit='m') -> float",
            "Compute the area of the square in units.",
        ),
    )


@pytest.mark.parametrize(
    "text", ['def broken(:\n    """x"""', '"""x"""\n' + "(" * 500 + ")" * 500, '"""\0"""']
)
def test_what_does_not_parse_is_counted(text: str, tmp_path: Path) -> None:
    [failure] = read(tmp_path / "broken.py", text)
    assert isinstance(failure, Failure)
    assert failure.reason == "does not parse"


def test_little_documentation_is_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path / "small.py", '"""Short."""') == []
    assert read(tmp_path / "none.py", "x = 1") == []


def test_what_is_installed() -> None:
    found = python_docs.installed()
    names = {file.name for file in found.files}
    assert {"json/__init__.py", "textwrap.py", "pydantic/main.py"} <= names
    assert any(name.startswith("pydantic-") and name.endswith("METADATA") for name in names)
    assert not any("/tests/" in name or name.startswith(("test/", "/", "..")) for name in names)
    assert found == python_docs.installed()


def test_descriptions_in_metadata(tmp_path: Path) -> None:
    body = "# A package\n\n" + "It does what it says. " * 20
    for text in (
        f"Name: x\nVersion: 1\n\n{body}",
        "Name: x\nDescription: " + body.replace("\n", "\n        "),
    ):
        path = tmp_path / "METADATA"
        path.write_text(text)
        [page] = python_docs.read(InputFile(str(path), "x-1.dist-info/METADATA", 1, 0))
        assert isinstance(page, Page)
        assert str(page.content).strip() == body.strip()
