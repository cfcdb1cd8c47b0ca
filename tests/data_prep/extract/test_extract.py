"""Pages to text, and pages that would hang, crash or fill a process."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.extract.html import ExtractionError, decode, extract
from data_prep.extract.worker import Extractor

SENTENCE = "The harbour of the old town lies quiet in the morning and the boats come back. "
ARTICLE = f"<article><h1>Boats</h1><p>{SENTENCE * 6}</p></article>"
PAGE = f"<html><body><nav><a href='/'>Home</a></nav>{ARTICLE}</body></html>"


@pytest.mark.parametrize("engine", ["trafilatura", "resiliparse"])
def test_the_main_text_comes_out(engine: str) -> None:
    text = extract(PAGE.encode(), "", engine)
    assert SENTENCE.strip() in text
    assert "Home" not in text


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        ("é".encode(), "", "é"),
        ("é".encode("latin-1"), "iso-8859-1", "é"),
        ("é".encode(), "no-such-charset", "é"),
        ("é".encode("utf-16"), "", "é"),
        (b"\xef\xbb\xbfx", "", "x"),
        (("Füße größer " * 20).encode("latin-1"), "", "Füße größer " * 20),
        (
            ("Привет, мир. Это русский текст. " * 20).encode("cp1251"),
            "",
            "Привет, мир. Это русский текст. " * 20,
        ),
        ("é".encode("utf-16-le"), "UTF-16LE", "é"),
        *(
            (f"<meta charset={name}>{text}".encode(codec), "", f"<meta charset={name}>{text}")
            for name, codec, text in (
                ("iso-2022-jp", "iso-2022-jp", "これは日本語のページです"),
                ("Shift_JIS", "shift_jis", "これは日本語のページです"),
                ("gb2312", "gb18030", "这是一个网页"),
                ("euc-kr", "euc-kr", "한국어 페이지입니다"),
                ("iso-8859-2", "iso-8859-2", "Zażółć gęślą jaźń"),
                ("nonsense", "utf-8", "é"),
            )
        ),
    ],
)
def test_encodings(content: bytes, charset: str, text: str) -> None:
    assert decode(content, charset) == text


def test_binary_junk_is_named() -> None:
    with pytest.raises(ExtractionError, match="binary content"):
        decode(b"GIF89a\0\0\1")


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    worker = Extractor()
    yield worker
    worker.close()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["trafilatura", "resiliparse"]))
def test_any_bytes_give_a_text_or_a_reason(extractor: Extractor, content: bytes, engine: str) -> None:
    for page in (content, b"<html><body><p>" + content, PAGE.encode()[:200] + content):
        found = outcome(extractor, page, engine)
        assert found.startswith(("text", "binary content", "no main text", "extractor failed"))


def outcome(extractor: Extractor, page: bytes, engine: str) -> str:
    try:
        return "text: " + extractor.extract(page, "", engine, 10)
    except ExtractionError as error:
        return str(error)


def test_a_page_that_takes_too_long_is_ended_and_the_next_one_works(extractor: Extractor) -> None:
    slow = b"<html><body><table>" + b"<tr><td>Some words" * 60_000  # some seconds
    start = time.perf_counter()
    with pytest.raises(ExtractionError, match="took too long"):
        extractor.extract(slow, "", "trafilatura", 0.3)
    assert time.perf_counter() - start < 300
    assert SENTENCE.strip() in extractor.extract(PAGE.encode(), "", "trafilatura", 10)


def test_a_killed_process_is_replaced_and_the_page_is_not_lost(extractor: Extractor) -> None:
    extractor.extract(PAGE.encode(), "", "resiliparse", 10)
    assert extractor._process
    os.kill(extractor._process.pid, 9)
    assert SENTENCE.strip() in extractor.extract(PAGE.encode(), "", "resiliparse", 10)


def test_a_crash_is_counted_and_the_next_page_works(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"]
    started: list[int] = []

    def broken() -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process.pid)
        return process

    extractor.close()
    with monkeypatch.context() as patch:
        patch.setattr(extractor, "_start", broken)
        with pytest.raises(ExtractionError, match="crashed"):
            extractor.extract(PAGE.encode(), "", "resiliparse", 10)
    assert len(started) == 2
    assert SENTENCE.strip() in extractor.extract(PAGE.encode(), "", "resiliparse", 10)
