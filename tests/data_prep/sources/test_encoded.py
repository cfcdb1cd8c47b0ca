"""Texts, lines and rows in whatever encoding they are in."""

# ruff: noqa: RUF001

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.sources.files import InputFile
from data_prep.sources.text import read as read_text
from tests.data_prep.sources.test_sources import COMPRESS, read

RUSSIAN = "Наш город стоит на берегу широкой реки,\nи каждое утро рыбаки выходят на лодках.\n" * 5
GERMAN = "Über die Brücke führt ein schöner Weg;\r\ndie Straße ist größer geworden.\r\n" * 5
JAPANESE = "古い町へ続く道は橋を渡ってさらに先へ進みます。\nソフトウェアの表。\n" * 5
CHINESE = "这条路穿过大桥通向古老的城镇。\n早晨渔民乘船出海。\n" * 5
TAIWAN = "這條路穿過大橋通向古老的城鎮。\n早晨漁民乘船出海，市場在七點開門。\n" * 5
KOREAN = "오래된 마을로 가는 길은 다리를 건너 더 멀리 이어집니다.\n" * 5
WRITTEN = [
    (RUSSIAN, "utf-8"),
    (RUSSIAN, "utf-8-sig"),
    (RUSSIAN, "utf-16"),
    (RUSSIAN, "utf-32"),
    (RUSSIAN, "utf-16-le"),
    (RUSSIAN, "utf-16-be"),
    (RUSSIAN, "cp1251"),
    (RUSSIAN, "koi8-r"),
    (RUSSIAN, "cp866"),
    (GERMAN, "utf-8"),
    (GERMAN, "cp1252"),
    (GERMAN, "utf-16"),
    (JAPANESE, "shift_jis"),
    (JAPANESE, "euc-jp"),
    (JAPANESE, "iso-2022-jp"),
    (CHINESE, "gb18030"),
    (CHINESE, "utf-16"),
    (TAIWAN, "big5"),
    (KOREAN, "euc-kr"),
]


@pytest.mark.parametrize(("text", "encoding"), WRITTEN, ids=[f"{e}-{t[:2]}" for t, e in WRITTEN])
def test_texts_and_lines_in_any_encoding(text: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    pages, failures = read("text", tmp_path)
    assert ("".join(str(page.content) for page in pages), failures) == (text, [])
    lines = "".join(json.dumps({"text": line}, ensure_ascii=False) + "\n" for line in text.splitlines())
    (tmp_path / "a.jsonl").write_bytes(lines.encode(encoding))
    pages, failures = read("jsonl", tmp_path)
    assert ([page.content for page in pages], failures) == (text.splitlines(), [])


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1251"])
def test_long_files_in_pieces(encoding: str, suffix: str, tmp_path: Path) -> None:
    """Longer than what is looked at, so that the rest is read another way than the start."""
    text = "".join(f"{number} Наш город стоит на берегу широкой реки.\n" for number in range(60_000))
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](text.encode(encoding)))
    pages = list(read_text(InputFile(str(path), "a.txt", 0, 0), 50_000))
    assert "".join(str(page.content) for page in pages if not hasattr(page, "reason")) == text


def test_marks_inside_a_file_of_lines_are_ignored_too(tmp_path: Path) -> None:
    one = '{"text": "a"}\r\n'.encode("utf-8-sig")
    (tmp_path / "joined.jsonl").write_bytes(one + one + b"\xef\xbb\xbf\r\n" + one)
    pages, failures = read("jsonl", tmp_path)
    assert ([page.content for page in pages], failures) == (["a", "a", "a"], [])


def test_a_bad_byte_in_lines_costs_one_character(tmp_path: Path) -> None:
    rows = [json.dumps({"text": line}, ensure_ascii=False).encode() for line in RUSSIAN.splitlines()]
    rows[3] = rows[3][:-3] + b'\xd0"}'
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(rows))
    texts = [str(page.content) for page in read("jsonl", tmp_path)[0]]
    wanted = RUSSIAN.splitlines()
    assert texts[:3] + texts[4:] == wanted[:3] + wanted[4:]
    assert texts[3].count("\ufffd") == 1
    (tmp_path / "b.txt").write_bytes(RUSSIAN.encode().replace(b"\n", b"\xd0\n", 1))
    assert str(read("text", tmp_path)[0][0].content) == RUSSIAN.replace("\n", "\ufffd\n", 1)


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    for name in ("a.txt", "a.jsonl"):
        (tmp_path / name).write_bytes(b"\x7fELF\2\1\1" + bytes(9) + bytes(range(256)) * 9)
    for kind in ("text", "jsonl"):
        pages, failures = read(kind, tmp_path)
        assert (pages, [failure.reason for failure in failures]) == ([], ["binary content"])


def test_a_line_that_is_too_long_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import data_prep.sources.jsonl as jsonl

    monkeypatch.setattr(jsonl, "LINE_BYTES", 1_000)
    long = b'{"text": "' + b"x" * 5_000 + b'"}'
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n' + long + b'\n{"text": "b"}\n' + long)
    pages, failures = read("jsonl", tmp_path)
    assert [(page.content, page.offset) for page in pages] == [("a", 1), ("b", 3)]
    assert [(failure.reason, failure.offset) for failure in failures] == [
        ("line is not JSON", 2),
        ("line is not JSON", 4),
    ]


def test_rows_whose_strings_are_bytes_or_no_utf8(tmp_path: Path) -> None:
    bad = pa.array([b"one", b"tw\xff", None, "ж".encode()], pa.binary())
    for kind in (pa.binary(), pa.large_binary(), pa.string(), pa.large_string()):
        column = pa.Array.from_buffers(
            kind, 4, bad.cast(pa.large_binary() if "large" in str(kind) else pa.binary()).buffers()
        )
        pq.write_table(pa.table({"text": column, "url": ["u"] * 4}), tmp_path / "a.parquet")
        pages, failures = read("parquet", tmp_path)
        assert [page.content for page in pages] == ["one", "tw\ufffd", "ж"]
        assert [failure.reason for failure in failures] == ["row has no text under 'text'"]
    words = pa.array(["a", "b", "a", None]).dictionary_encode()
    pq.write_table(pa.table({"text": words}), tmp_path / "a.parquet")
    assert [page.content for page in read("parquet", tmp_path)[0]] == ["a", "b", "a"]
