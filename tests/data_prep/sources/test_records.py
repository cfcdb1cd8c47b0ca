"""Archives as they are written and as they break: every page comes out, or a failure says where it went."""

import gzip
import io
import random
from collections import Counter
from pathlib import Path

import pytest
import zstandard

from data_prep.account import Account
from data_prep.collect import read_all
from data_prep.config import CorpusConfig
from data_prep.sources import list_files
from tests.data_prep.sources.test_sources import COMPRESS, read, warc


def record(
    number: int, end: str = "\r\n", uri: str = "http://a.test/{}", kind: str = "response", **fields: str
) -> bytes:
    body = f"<p>page {number}"
    answer = end.join(["HTTP/1.1 200 OK", "Content-Type: text/html; charset=utf-8", "", body]).encode()
    header = {
        "WARC-Type": kind,
        "WARC-Target-URI": uri.format(number),
        "Content-Type": "application/http;msgtype=response",
        "Content-Length": str(len(answer)),
    }
    lines = ["WARC/1.0", *(f"{name}: {value}" for name, value in (header | fields).items()), "", ""]
    return end.join(lines).encode() + answer + 2 * end.encode()


FIVE = [record(number) for number in range(5)]
URLS = [f"http://a.test/{number}" for number in range(5)]


def found(tmp_path: Path, content: bytes, suffix: str = "") -> tuple[list[str], Counter[str]]:
    """The pages' addresses, and failures by reason; every byte of the file must be accounted for."""
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    (folder / f"a.warc{suffix}").write_bytes(content)
    corpus = CorpusConfig(kind="warc", paths=[str(folder)])
    account = Account()
    items = [item for _, item in read_all(list_files(corpus), corpus, account)]
    assert account.bytes == len(content)
    return [item.url for item in items if not hasattr(item, "reason")], Counter(
        item.reason for item in items if hasattr(item, "reason")
    )


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_both_line_ends_in_every_compression(end: str, suffix: str, tmp_path: Path) -> None:
    records = [record(number, end) for number in range(5)]
    for packed in (COMPRESS[suffix](b"".join(records)), b"".join(map(COMPRESS[suffix], records))):
        assert found(tmp_path, packed, suffix) == (URLS, Counter())


@pytest.mark.parametrize(
    "content",
    [
        b"".join(one + b"\r\n" * 3 for one in FIVE),
        b"".join(one.removesuffix(b"\r\n\r\n") + b"\r\n" for one in FIVE),
        b"".join(one.removesuffix(b"\r\n\r\n") for one in FIVE),
        b"\r\n" + b"".join(FIVE),
        b"".join(FIVE).replace(b"WARC/1.0", b"WARC/1.1"),
        b"".join(FIVE).replace(b"WARC/1.0", b"WARC/0.18"),
        b"".join(FIVE).replace(b"Content-Length", b"content-length").replace(b"WARC-T", b"warc-t"),
        b"".join(FIVE).replace(b"WARC-Target-URI: ", b"WARC-Target-URI:"),
        b"".join(record(number, uri="<http://a.test/{}>") for number in range(5)),
        b"".join(record(number, **{"X-Long": "a\r\n b\r\n\tc"}) for number in range(5)),
    ],
    ids=["more-ends", "fewer-ends", "no-ends", "empty-line-first", "1.1", "0.18", "names-in-small-letters",
         "no-space", "brackets", "folded"],
)  # fmt: skip
def test_archives_as_they_are_written(content: bytes, tmp_path: Path) -> None:
    assert found(tmp_path, content) == (URLS, Counter())


JUNK = random.Random(0).randbytes(3_000).replace(b"\n", b"")


@pytest.mark.parametrize(
    "junk", [b"junk\r\n", b"junk", JUNK, bytes(512), b"\n\n<html>\n\n", b"WARC\n", JUNK * 90]
)
def test_junk_between_records_is_passed_over_and_told(junk: bytes, tmp_path: Path) -> None:
    content = b"".join(FIVE[:2]) + junk + b"\r\n" + b"".join(FIVE[2:])
    assert found(tmp_path, content) == (URLS, Counter({"no WARC record": 1}))
    assert found(tmp_path, junk + b"\r\n" + b"".join(FIVE))[0] == URLS
    assert found(tmp_path, b"".join(FIVE) + junk) == (URLS, Counter({"no WARC record": 1}))
    assert found(tmp_path, junk) == ([], Counter({"no WARC record": 1}))
    packed = b"".join(map(gzip.compress, [*FIVE[:2], junk, *FIVE[2:]]))
    left = URLS[:2] + URLS[2 + (not junk.endswith(b"\n")) :]  # junk without a line's end takes the next along
    assert found(tmp_path, packed, ".gz") == (left, Counter({"no WARC record": 1}))


def test_a_file_that_ends_anywhere_loses_nothing_in_silence(tmp_path: Path) -> None:
    content = b"".join(FIVE[:2])
    one = len(FIVE[0])
    for size in range(len(content)):
        urls, reasons = found(tmp_path, content[:size])
        whole = sum(size >= end - 4 for end in (one, len(content)))  # the empty lines at the end may lack
        assert urls == URLS[:whole]
        rest = size - (one if size > one else 0)
        inside = rest > 0 and not (size >= one - 4 and size <= one) and size < len(content) - 4
        assert (reasons.total() == 1) == inside, size
    names = {"no WARC record", "record header cut off", "record cut off"}
    assert {next(iter(found(tmp_path, content[: one + n])[1])) for n in (3, 40, len(FIVE[1]) - 9)} == names


def test_a_compressed_file_that_ends_anywhere_is_named(tmp_path: Path) -> None:
    members = [gzip.compress(one) for one in FIVE[:2]]
    for size in range(1, len(members[0])):
        urls, reasons = found(tmp_path, members[0] + members[1][:size], ".gz")
        assert urls[0] == URLS[0]
        assert reasons["damaged file"] == 1


@pytest.mark.parametrize("length", ["", "x", "-5", "1e3", "\uff19", "9" * 30])
def test_records_without_a_length_are_told(length: str, tmp_path: Path) -> None:
    bad = record(9, **{"Content-Length": length})
    urls, reasons = found(tmp_path, FIVE[0] + bad + FIVE[1])
    assert (urls, reasons) == (URLS[:2], Counter({"record without a length": 1}))


def test_a_length_that_is_too_short_or_too_long_is_told(tmp_path: Path) -> None:
    size = len(FIVE[0].split(b"\r\n\r\n", 1)[1]) - 4
    for wrong, lost in ((size - 5, 0), (size + 20, 1)):
        bad = record(9, **{"Content-Length": str(wrong)})
        urls, reasons = found(tmp_path, bad + b"".join(FIVE))
        assert urls[-4:] == URLS[1:]
        assert len(urls) == 6 - lost
        assert reasons == Counter({"no WARC record": 1})


def test_what_is_no_page_is_counted(tmp_path: Path) -> None:
    kinds = ["request", "metadata", "warcinfo", "revisit", "continuation", "a-new-one"]
    (tmp_path / "a.warc").write_bytes(warc(3, False) + b"".join(record(1, kind=kind) for kind in kinds))
    corpus = CorpusConfig(kind="warc", paths=[str(tmp_path)])
    account = Account()
    assert len(list(read_all(list_files(corpus), corpus, account))) == 3
    assert account.passed == Counter(
        {"record that is no HTML": 1, "record with another status than 200": 1, "record of type unknown": 1}
        | {f"record of type {kind}": 1 for kind in kinds[:-1]}
    )


def test_pages_in_records_of_many_forms(tmp_path: Path) -> None:
    page = "<p>ж".encode("cp1251")
    resource = record(1, kind="resource", **{"Content-Type": "text/html; charset=cp1251"})
    start = resource.index(b"HTTP/")
    resource = resource[:start].replace(b"Content-Length: ", b"Content-Length: 4\r\nX: ") + page + b"\r\n\r\n"
    chunked = b"4\n<p>c\n3\nhun\n0\n\n"
    answer = b"HTTP/1.0 200\nContent-Type: TEXT/HTML\nTransfer-Encoding: chunked\n\n" + chunked
    members = gzip.compress(b"<p>one ") + gzip.compress(b"two")
    packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/html\r\n\r\n" + members
    others = [
        b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: %d\r\n\r\n" % len(one) + one + b"\r\n\r\n"
        for one in (answer, packed)
    ]  # fmt: skip
    (tmp_path / "a.warc").write_bytes(resource + b"".join(others))
    pages, failures = read("warc", tmp_path)
    assert [(page.content, page.charset) for page in pages] == [
        ("<p>ж".encode("cp1251"), "cp1251"),
        (b"<p>chun", ""),
        (b"<p>one two", ""),
    ]
    assert failures == []


def long_window(content: bytes, log: int = 31) -> bytes:
    """A zst frame whose header asks for a window of 2**log bytes."""
    parameters = zstandard.ZstdCompressionParameters(window_log=log)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(content) + packer.flush()


def test_windows_of_two_gibibytes_are_read(tmp_path: Path) -> None:
    content = b"".join(FIVE)
    assert found(tmp_path, long_window(content), ".zst") == (URLS, Counter())
    (tmp_path / "a.jsonl.zst").write_bytes(long_window(b'{"text": "a"}\n') + long_window(b'{"text": "b"}\n'))
    pages, failures = read("jsonl", tmp_path / "a.jsonl.zst")
    assert ([page.content for page in pages], failures) == (["a", "b"], [])


def test_a_limit_is_called_a_limit(tmp_path: Path) -> None:
    larger = bytearray(long_window(b'{"text": "a"}\n'))
    assert larger[4] & 0x20 == 0  # no single segment: a window's size follows
    larger[5] = (32 - 10) << 3
    (tmp_path / "a.jsonl.zst").write_bytes(larger)
    samples = [b"some words %d here" % number * 3 for number in range(2_000)]
    dictionary = zstandard.train_dictionary(1_000, samples)  # one that is trained has a number in the header
    packed = zstandard.ZstdCompressor(dict_data=dictionary).compress(b'{"text": "some words"}')
    (tmp_path / "b.jsonl.zst").write_bytes(packed)
    _, failures = read("jsonl", tmp_path)
    assert [failure.reason for failure in failures] == [
        "window of more than 2,048 MiB",
        "compressed with a dictionary",
    ]


@pytest.mark.parametrize("suffix", [suffix for suffix in COMPRESS if suffix])
def test_members_and_what_stands_between_them(suffix: str, tmp_path: Path) -> None:
    parts = [COMPRESS[suffix](b'{"text": "%d"}\n' % number) for number in range(3)]
    path = tmp_path / f"a.jsonl{suffix}"
    for content, texts, reasons in (
        (b"".join(parts), "012", []),
        (b"".join(parts) + b"junk and more", "012", ["damaged file"]),
        (parts[0] + b"junk and more" + parts[1], "0", ["damaged file"]),
        (b"".join(parts)[:-3], None, ["damaged file"]),
        (b"<html>An error page", "", ["damaged file"]),
    ):
        path.write_bytes(content)
        pages, failures = read("jsonl", path)
        assert [failure.reason for failure in failures] == reasons
        assert texts is None or "".join(str(page.content) for page in pages) == texts


def test_compression_is_seen_where_the_name_does_not_say_it(tmp_path: Path) -> None:
    for suffix, pack in COMPRESS.items():
        (tmp_path / f"a{suffix.replace('.', '-')}.jsonl").write_bytes(pack(b'{"text": "a"}\n'))
    pages, failures = read("jsonl", tmp_path)
    assert ([page.content for page in pages], failures) == (["a"] * len(COMPRESS), [])


def test_a_wet_record_that_is_cut_is_told(tmp_path: Path) -> None:
    body = "Some text. ü".encode()
    header = (
        b"WARC/1.0\nWARC-Type: conversion\nWARC-Target-URI: <http://a.test/>\n"
        b"Content-Length: %d\n\n" % len(body)
    )
    (tmp_path / "a.wet").write_bytes(header + body + b"\n\n" + header + body[:5])
    pages, failures = read("wet", tmp_path)
    assert [(page.content, page.url) for page in pages] == [("Some text. ü", "http://a.test/")]
    assert [failure.reason for failure in failures] == ["record cut off"]


def test_bombs_are_unpacked_in_pieces(tmp_path: Path) -> None:
    """Reading the first bytes of a gigabyte of zeros takes little memory, whatever packs it."""
    import tracemalloc

    from data_prep.sources.streams import open_stream

    zeros = io.BytesIO()
    with gzip.GzipFile(fileobj=zeros, mode="wb", compresslevel=1) as file:
        for _ in range(200):
            file.write(bytes(1 << 20))
    (tmp_path / "a.gz").write_bytes(zeros.getvalue())
    tracemalloc.start()
    with open_stream(str(tmp_path / "a.gz")) as stream:
        assert stream.read(10) == bytes(10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def arc_record(number: int) -> bytes:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=cp1251\r\n\r\n<p>page"
    line = f"http://a.test/{number} 192.0.2.1 20200101000000 text/html {len(answer)}\n"
    return line.encode() + answer + b"\n"


ABOUT = b"1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n"
ARC = b"filedesc://a.arc 192.0.2.1 20200101000000 text/plain %d\n" % len(ABOUT) + ABOUT + b"\n"


def test_an_old_archive_that_ends_anywhere_loses_nothing_in_silence(tmp_path: Path) -> None:
    first, second = ARC + arc_record(0), arc_record(1)
    for size in range(1, len(second)):
        (tmp_path / "a.arc").write_bytes(first + second[:size])
        pages, failures = read("warc", tmp_path)
        whole = size >= len(second) - 1  # the line's end at the end may lack
        assert [page.url for page in pages] == URLS[: 1 + whole]
        assert len(failures) == 1 - whole
    assert pages[0].charset == "cp1251"


@pytest.mark.parametrize("junk", [b"junk\n", b"a b c\n" * 9, JUNK + b"\n", bytes(99) + b"\n"])
def test_junk_in_an_old_archive_is_passed_over_and_told(junk: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.arc.gz").write_bytes(gzip.compress(ARC + arc_record(0) + junk + arc_record(1) + junk))
    pages, failures = read("warc", tmp_path)
    assert [page.url for page in pages] == URLS[:2]
    assert [failure.reason for failure in failures] == ["no ARC record"] * 2
