"""Lists of files, and what paths, globs and folders name and may have meant."""

import gzip
import os
from pathlib import Path

import pytest

from data_prep.config import CorpusConfig
from data_prep.contract.settings import InputError
from data_prep.sources import list_files
from tests.data_prep.sources.test_sources import COMPRESS, read

GOOD = b"a.txt\nb.txt\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.txt", "ü.txt"):
        (tmp_path / name).write_text(f"text of {name}", encoding="utf-8")
    return tmp_path


def listed(folder: Path, name: str, content: bytes) -> list[str]:
    (folder / name).write_bytes(content)
    corpus = CorpusConfig(kind="text", paths=[str(folder / name)], path_prefix=f"{folder}/")
    return [file.name for file in list_files(corpus)]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize(
    "content", [GOOD, b"\xef\xbb\xbf" + GOOD, GOOD.replace(b"\n", b"\r\n"), b"\n\n a.txt \nb.txt",
                GOOD.decode().encode("utf-16")],
)  # fmt: skip
def test_lists_in_every_form(content: bytes, suffix: str, folder: Path) -> None:
    assert listed(folder, f"crawl.paths{suffix}", COMPRESS[suffix](content)) == ["a.txt", "b.txt"]


BROKEN = {
    "cut.paths.gz": gzip.compress(GOOD * 99)[:-9],
    "error.paths.gz": b"<html><h1>404 Not Found</h1></html>",
    "error.paths": b"<html>\n<h1>404 Not Found</h1></html>",
    "latin1.paths": "ü.txt\n".encode("latin-1"),
    "junk.paths.xz": b"\xfd7zXZ\0junk",
    "junk.paths.zst": b"\x28\xb5\x2f\xfd" + bytes(9),
    "zeros.paths": bytes(200),
    "escape.paths": b"a\x1b[2J.txt\n",
    "long.paths": b"x" * 20_000,
    "empty.paths": b"",
    "blank.paths": b"\n \n",
    "nested.paths": b"other.paths\n",
    "gone.paths": b"a.txt\nnone.txt\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_list_is_one_sentence_with_its_name(name: str, folder: Path) -> None:
    with pytest.raises(InputError) as found:
        listed(folder, name, BROKEN[name])
    assert str(found.value).startswith(f"{folder}/{name}: ")
    assert "\n" not in str(found.value)
    assert "\x1b" not in str(found.value)
    assert len(str(found.value)) < len(str(folder)) * 2 + 250


def test_the_line_of_a_list_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.paths: line 2: .*no file matches .*none\.txt"):
        listed(folder, "gone.paths", BROKEN["gone.paths"])


def test_files_of_other_kinds_are_named_and_links_too(folder: Path) -> None:
    (folder / "deep").mkdir()
    for name in ("a.css", ".hidden.txt", "deep/b.pdf", "deep/C.TXT", "deep/d.Txt.GZ"):
        (folder / name).write_bytes(gzip.compress(b"x") if name.endswith("GZ") else b"x")
    (folder / "link").symlink_to(folder / "deep")
    (folder / "broken.txt").symlink_to(folder / "none")
    os.mkfifo(folder / "pipe.txt")
    others: list[str] = []
    files = list_files(CorpusConfig(kind="text", paths=[str(folder)]), others.extend)
    assert [file.name for file in files] == ["a.txt", "b.txt", "deep/C.TXT", "deep/d.Txt.GZ", "ü.txt"]
    assert sorted(others) == [".hidden.txt", "a.css", "broken.txt", "deep/b.pdf", "link", "pipe.txt"]
    assert [page.content for page in read("text", folder / "deep")[0]] == ["x", "x"]
    others.clear()
    list_files(CorpusConfig(kind="text", paths=[f"{folder}/*"]), others.extend)
    assert sorted(others) == ["broken.txt", "deep", "link", "pipe.txt"]


def test_a_folder_that_cannot_be_looked_into_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "closed").mkdir()
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InputError, match=r"cannot be read .*closed"):
        list_files(CorpusConfig(kind="text", paths=[str(folder)]))


def test_an_archive_with_arc_in_its_name_is_a_warc(tmp_path: Path) -> None:
    from tests.data_prep.sources.test_sources import warc

    (tmp_path / "my.archive.warc.gz").write_bytes(warc(2))
    assert len(read("warc", tmp_path)[0]) == 2


@pytest.mark.parametrize("path", ["a\0b", "x" * 5_000, "\x1b[2J"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(InputError) as found:
        list_files(CorpusConfig(kind="text", paths=[path]))
    assert "\x1b" not in str(found.value)
