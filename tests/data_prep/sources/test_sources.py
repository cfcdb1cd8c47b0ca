"""Each kind of source on small files made here: whole, compressed, damaged."""

import bz2
import gzip
import io
import json
import lzma
import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from fastwarc.stream_io import Lz4Writer
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from data_prep.collect import read_all
from data_prep.config import CorpusConfig
from data_prep.contract.settings import InputError
from data_prep.documents import Failure, Page
from data_prep.sources import list_files
from data_prep.sources.files import group_files
from data_prep.sources.text import cut
from tests.data_prep.helpers import real_data

COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": partial(lzma.compress, preset=0),
    ".bz2": partial(bz2.compress, compresslevel=1),
    ".zst": zstandard.ZstdCompressor().compress,
}


def lz4(data: bytes) -> bytes:
    """A frame for every 64 KiB."""
    frames = b""
    for start in range(0, len(data), 1 << 16):
        buffer = io.BytesIO()
        writer = Lz4Writer(buffer)
        writer.write(data[start : start + (1 << 16)])
        writer.close()
        frames += buffer.getvalue()
    return frames


def read(kind: str, path: Path, **options: Any) -> tuple[list[Page], list[Failure]]:
    corpus = CorpusConfig.model_validate({"kind": kind, "paths": [str(path)], **options})
    items = [item for _, item in read_all(list_files(corpus), corpus)]
    pages = [item for item in items if isinstance(item, Page)]
    return pages, [item for item in items if isinstance(item, Failure)]


def warc(pages: int, compressed: bool = True) -> bytes:
    """A WARC file with that many HTML pages, a picture and a page that was not found."""
    buffer = io.BytesIO()
    writer = WARCWriter(buffer, gzip=compressed)

    def add(url: str, status: str, kind: str, body: bytes) -> None:
        headers = StatusAndHeaders(status, [("Content-Type", kind)], protocol="HTTP/1.1")
        record = writer.create_warc_record(url, "response", payload=io.BytesIO(body), http_headers=headers)
        writer.write_record(record)

    for number in range(pages):
        add(f"http://a.test/{number}", "200 OK", "text/html; charset=utf-8", b"<p>%d" % number + b" x" * 4000)
    add("http://a.test/picture", "200 OK", "image/png", b"\x89PNG")
    add("http://a.test/gone", "404 Not Found", "text/html", b"<p>gone")
    return buffer.getvalue()


COMPRESS[".lz4"] = lz4


@pytest.mark.parametrize("suffix", COMPRESS)
def test_text_and_jsonl_in_every_compression(suffix: str, tmp_path: Path) -> None:
    text = "First paragraph. Ünïcode.\n\nSecond.\n"
    (tmp_path / f"a.txt{suffix}").write_bytes(COMPRESS[suffix](text.encode()))
    pages, failures = read("text", tmp_path)
    assert ([page.content for page in pages], failures) == ([text], [])
    rows = [{"text": "one", "url": "http://u.test"}, {"text": "two", "url": 5}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / f"a.jsonl{suffix}").write_bytes(COMPRESS[suffix](lines.encode()))
    pages, failures = read("jsonl", tmp_path / f"a.jsonl{suffix}")
    assert [(page.content, page.url) for page in pages] == [("one", "http://u.test"), ("two", "")]


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2", ".zst", ".lz4"])
def test_damaged_files_give_what_lies_before_and_are_named(suffix: str, tmp_path: Path) -> None:
    draw = random.Random(0)  # what cannot be compressed, so that half of the bytes are half of the lines
    lines = [json.dumps({"text": draw.randbytes(50).hex()}) for _ in range(5_000)]
    data = COMPRESS[suffix]("\n".join(lines).encode())
    (tmp_path / f"a.jsonl{suffix}").write_bytes(data[: len(data) // 2])
    pages, failures = read("jsonl", tmp_path)
    assert 500 < len(pages) < 4_500
    assert [json.dumps({"text": page.content}) for page in pages] == lines[: len(pages)]
    assert failures[-1].reason == "damaged file"


def test_long_texts_are_cut_at_paragraphs_and_nothing_is_lost(tmp_path: Path) -> None:
    text = "".join(f"Paragraph {n} " + "of words " * (n % 40) + "\n\n" for n in range(2000))
    (tmp_path / "book.txt").write_text(text)
    pages, _ = read("text", tmp_path, document_bytes=5000)
    assert "".join(str(page.content) for page in pages) == text
    assert all(str(page.content).endswith("\n\n") and len(page.content) <= 5000 for page in pages)
    assert [page.offset for page in pages][1] == len(pages[0].content)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("aaaa\n\nbbbb", ("aaaa\n\n", "bbbb")),
        ("aaaa\nbbbb cc", ("aaaa\n", "bbbb cc")),
        ("a" * 9, ("a" * 8, "a")),
    ],
)
def test_cut(text: str, pieces: tuple[str, str]) -> None:
    assert cut(text, 8) == pieces


def test_bad_lines_are_counted_by_kind(tmp_path: Path) -> None:
    lines = [
        b'{"text": "good"}',
        b"{",
        b"[]",
        b'{"text": 5}',
        b'{"txt": "x"}',
        b'{"text": "\xff\xfe"}',
        b"",
        b"[" * 9999,
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    pages, failures = read("jsonl", tmp_path)
    assert [page.content for page in pages] == ["good", "\ufffd\ufffd"]
    assert Counter(failure.reason for failure in failures) == {
        "line is not JSON": 2,
        "line has no text under 'text'": 3,
    }


@pytest.mark.parametrize("name", [f"a.warc{suffix}" for suffix in COMPRESS])
def test_warc_holds_the_pages_that_were_found(name: str, tmp_path: Path) -> None:
    data = warc(5, compressed=name.endswith(".gz"))
    suffix = "" if name.endswith(".gz") else name.removeprefix("a.warc")
    (tmp_path / name).write_bytes(COMPRESS[suffix](data))
    pages, failures = read("warc", tmp_path)
    assert [page.url for page in pages] == [f"http://a.test/{n}" for n in range(5)]
    assert [bytes(page.content)[:4] for page in pages if isinstance(page.content, bytes)] == [
        b"<p>%d" % n for n in range(5)
    ]
    assert pages[0].charset == "utf-8"
    assert failures == []


def test_a_cut_off_warc_is_named(tmp_path: Path) -> None:
    data = warc(40)
    for share in (0.3, 0.5, 0.77):
        (tmp_path / "a.warc.gz").write_bytes(data[: int(len(data) * share)])
        pages, failures = read("warc", tmp_path)
        assert abs(len(pages) - 40 * share) < 3
        assert failures[-1].reason == "damaged file"


def test_a_warc_with_junk_inside_is_named(tmp_path: Path) -> None:
    data = bytearray(warc(40))
    data[len(data) // 2 : len(data) // 2 + 500] = b"junk!" * 100
    (tmp_path / "a.warc.gz").write_bytes(data)
    pages, failures = read("warc", tmp_path)
    assert 15 < len(pages) < 40
    assert failures[-1].reason == "damaged file"


def test_arc(tmp_path: Path) -> None:
    def record(url: str, kind: str, body: bytes) -> bytes:
        return f"{url} 192.0.2.1 20200101000000 {kind} {len(body)}\n".encode() + body + b"\n"

    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>An old page"
    head = b"1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n"
    data = record("filedesc://a.arc", "text/plain", head) + record("http://old.test/", "text/html", http)
    data += record(
        "http://old.test/x", "image/gif", b"HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\n\r\nGIF89a"
    )
    for name, content in (("a.arc", data), ("b.arc.gz", gzip.compress(data))):
        (tmp_path / name).write_bytes(content)
        pages, failures = read("warc", tmp_path / name)
        assert [(page.url, page.content) for page in pages] == [("http://old.test/", b"<p>An old page")]
        assert failures == []


def test_parquet(tmp_path: Path) -> None:
    table = pa.table({"body": ["one", None, "three"], "url": ["u", "v", None]})
    pq.write_table(table, tmp_path / "a.parquet")
    pages, failures = read("parquet", tmp_path, text_field="body")
    assert [(page.content, page.url) for page in pages] == [("one", "u"), ("three", "")]
    assert [failure.reason for failure in failures] == ["row has no text under 'body'"]
    assert read("parquet", tmp_path)[1][0].reason == "no column 'text'"
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    assert read("parquet", tmp_path)[1][0].reason == "damaged file"


def test_html_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.html").write_bytes(b"<p>a")
    (tmp_path / "b.htm.gz").write_bytes(gzip.compress(b"<p>b"))
    (tmp_path / "c.css").write_bytes(b"p {}")
    pages, _ = read("html", tmp_path)
    assert [(page.source, page.content) for page in pages] == [("b.htm.gz", b"<p>b"), ("sub/a.html", b"<p>a")]
    assert read("html", tmp_path, extract={"page_bytes": 3})[1][0].reason == "page too large"


def test_globs_and_lists_of_files(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.md"):
        (tmp_path / name).write_text(name)
    assert [page.content for page in read("text", tmp_path / "*.txt")[0]] == ["a.txt", "b.txt"]
    (tmp_path / "warc.paths.gz").write_bytes(gzip.compress(b"c.md\na.txt\n\n"))
    pages, _ = read("text", tmp_path / "warc.paths.gz", path_prefix=f"{tmp_path}/")
    assert [page.content for page in pages] == ["a.txt", "c.md"]
    with pytest.raises(InputError, match="no file matches"):
        read("text", tmp_path / "warc.paths.gz", path_prefix="/nowhere/")


def test_urls_are_read_like_files(tmp_path: Path) -> None:
    """fsspec's memory file system stands for a remote one."""
    import fsspec

    system = fsspec.filesystem("memory")
    system.pipe(
        {"/crawl/a.txt": b"one", "/crawl/deep/b.txt.gz": gzip.compress(b"two"), "/crawl/c.bin": b"no"}
    )
    pages, _ = read("text", Path("x"), paths=["memory://crawl"])
    assert [(page.source, page.content) for page in pages] == [("a.txt", "one"), ("deep/b.txt.gz", "two")]
    assert [page.content for page in read("text", Path("x"), paths=["memory://crawl/*.txt"])[0]] == ["one"]
    with pytest.raises(InputError, match="memory://nowhere"):
        read("text", Path("x"), paths=["memory://nowhere/a.txt"])


def test_groups_hold_every_file_once_whatever_the_order(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text("x" * number)
    files = list_files(CorpusConfig(kind="text", paths=[str(tmp_path)]))
    groups = group_files(files, 50, seed=1)
    assert groups == group_files(files[::-1], 50, seed=1)
    assert groups != group_files(files, 50, seed=2)
    assert sorted(file.name for group in groups for file in group) == sorted(file.name for file in files)
    assert all(sum(file.size for file in group[:-1]) < 50 for group in groups)


@pytest.mark.parametrize(
    ("name", "kind", "pages"),
    [
        ("cc_whirlwind.warc.gz", "warc", 1),
        ("cc_whirlwind.warc.wet.gz", "wet", 1),
        ("pywb_iana.warc.gz", "warc", 16),
        ("dolma_sample-0000.warc.gz", "warc", 22),
        ("resiliparse_warcfile.warc.gz", "warc", 16),
        ("resiliparse_warcfile.warc.lz4", "warc", 16),
        ("warcio_example-bad.warc.gz.bad", "warc", 1),
        ("warcio_example-wrong-chunks.warc.gz", "warc", 1),
        ("c4-sample.01.json.gz", "jsonl", 10),
    ],
)
def test_genuine_crawl_files(name: str, kind: str, pages: int) -> None:
    found, failures = read(kind, real_data(f"real_warcs/{name}"))
    assert (len(found), failures) == (pages, [])


def test_a_genuine_clipped_warc() -> None:
    found, failures = read("warc", real_data("real_warcs/resiliparse_clipped.warc.gz"))
    assert found == []
    assert [failure.reason for failure in failures] == ["record cut off", "damaged file"]
