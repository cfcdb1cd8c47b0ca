"""A preparation's input adds up, its strings fit their columns, and its records hold no secrets."""

import gzip
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_prep import run
from data_prep.account import BEYOND, Account
from data_prep.collect import document, read_all
from data_prep.config import CorpusConfig
from data_prep.contract.settings import InputError
from data_prep.documents import Failure, Page
from data_prep.inspect import describe, lines
from data_prep.sources import list_files
from data_prep.storage import Storage
from tests.data_prep.helpers import Here, here, prep_config, prepare_here, story
from tests.data_prep.sources.test_records import FIVE, record
from tests.data_prep.sources.test_sources import warc


def rows(texts: list[str], **fields: Any) -> bytes:
    return "".join(json.dumps({"text": text} | fields) + "\n" for text in texts).encode()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Files that are whole, cut, empty and of other kinds."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    good = rows([story(number) for number in range(8)])
    packed = gzip.compress(rows([story(number, 900) for number in range(100, 160)]))
    contents = {
        "good.jsonl": good + b"not JSON\n\n[]\n",
        "cut.jsonl.gz": packed[: len(packed) // 2],
        "damaged.jsonl.gz": packed[:5000] + bytes(9) + packed[5009:] + packed * 20,
        "deep/empty.jsonl": b"",
        "deep/blank.jsonl": b"\n\n",
        "deep/other.css": b"p {}",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_input_adds_up(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "Cluster", Here)
    config = prep_config([corpus], corpus={"dedup": {"near": {"enabled": False}}})
    receipt = run.prepare(config, Storage(tmp_path / "out"), lambda line: None)
    told = receipt.counts["input"]
    assert told == describe(tmp_path / "out")["input"]
    files = [path for path in corpus.rglob("*.jsonl*") if path.is_file()]
    assert told["files"] == len(files) == 5
    assert told["bytes"] == sum(path.stat().st_size for path in files)
    assert told["read"] + sum(told["unread"].values()) == told["bytes"]
    assert told["unread"].keys() == {"damaged file"}
    assert told["failures"] == {"damaged file": 2, "line is not JSON": 1, "line has no text under 'text'": 1}
    assert told["passed"] == {"file without a document": 2}
    assert told["documents"] == receipt.counts["funnel"][0]["documents"]
    assert told["records"] == told["documents"] + 4 + 2
    assert told["of_other_kinds"] == {"files": 1, "named": ["deep/other.css"]}
    shown = "\n".join(lines(describe(tmp_path / "out")))
    assert f"input: 5 files, {told['bytes']:,} bytes = {told['read']:,} read + " in shown
    assert (
        f"{told['records']:,} records = {told['documents']:,} documents + 4 failures + 2 passed over" in shown
    )
    assert "deep/other.css" in shown


def test_what_is_beyond_the_limit_is_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(90):
        (tmp_path / "in" / f"{number}.jsonl").write_bytes(rows([story(number, 6_000)]))
    config = prep_config([tmp_path / "in"], corpus={"max_bytes": 400_000, "part_bytes": 300_000})
    counts = prepare_here(config, tmp_path / "out")
    told, taken = counts["input"], counts["funnel"][0]
    assert told["files"] == 90
    assert taken["removed"] == {BEYOND: told["documents"] - taken["documents"]}, "of the last part"
    assert told["unread"].keys() == {BEYOND}
    assert told["read"] + sum(told["unread"].values()) == told["bytes"]
    assert told["bytes"] == sum(path.stat().st_size for path in (tmp_path / "in").iterdir())


def test_a_reader_that_stops_early_is_told(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import data_prep.collect as module

    page, row = Page("a", 0, "some text"), Failure("a", 0, "line is not JSON")
    config = CorpusConfig(kind="jsonl", paths=[str(corpus / "good.jsonl")])
    for items in ([page], [row, page]):
        monkeypatch.setattr(module, "read_file", lambda file, config, items=items: iter(items))
        *_, (_, failure) = read_all(list_files(config), config)
        assert isinstance(failure, Failure)
        assert failure.reason == "not read to its end"


def test_bytes_behind_damage_are_not_put_down_to_the_line_before_it(tmp_path: Path) -> None:
    first = gzip.compress(rows([story(1)]) + b"not JSON\n")
    (tmp_path / "a.jsonl.gz").write_bytes(first + b"junk" * 100_000)
    config = CorpusConfig(kind="jsonl", paths=[str(tmp_path / "a.jsonl.gz")])
    account = Account()
    reasons = [
        item.reason for _, item in read_all(list_files(config), config, account) if isinstance(item, Failure)
    ]
    assert reasons == ["line is not JSON", "damaged file"]
    assert account.unread.keys() == {"damaged file"}


HALF = "http://a.test/\ud83d"
BAD = [HALF, "a\0b", "\udc00", "\ufffe", "\x1b[2J", "two\nlines", 5, None, ["x"]]


def test_addresses_that_no_table_holds(tmp_path: Path) -> None:
    content = b"".join(rows([story(number)], url=url) for number, url in enumerate(BAD))
    (tmp_path / "rows.jsonl").write_bytes(content + b'{"text": "\\ud83d", "url": "\\ud83d"}\n')
    told = prepare_here(prep_config([tmp_path / "rows.jsonl"]), tmp_path / "out")["input"]
    assert (told["documents"], told["failures"]) == (len(BAD), {"empty text": 1})
    urls = pq.read_table(tmp_path / "out" / "documents.parquet")["url"].to_pylist()
    assert sorted(urls)[-3:] == ["ab", "http://a.test/", "two lines"]


def test_file_names_and_details_that_no_table_holds(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    odd = tmp_path / "in" / "n\udcff\x1b.jsonl"
    odd.write_bytes(rows([story(number) for number in range(4)]))
    broken = tmp_path / "in" / "n\udcfe\x1b.jsonl.gz"
    broken.write_bytes(gzip.compress(rows([story(9)]))[:-9])
    notes: list[str] = []
    config = prep_config([tmp_path / "in"])
    from data_prep.preparation import Preparation

    (tmp_path / "out").mkdir()
    Preparation(config, Storage(tmp_path / "out"), here, notes.append).run(list_files(config.corpus))
    assert describe(tmp_path / "out")["failures"]["damaged file"]["documents"] == 1
    for line in [*notes, *lines(describe(tmp_path / "out"))]:
        assert "\x1b" not in line
        line.encode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address of a server of its files."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None: ...

    web = HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    yield folder, f"127.0.0.1:{web.server_port}"
    web.shutdown()
    thread.join()
    web.server_close()


SECRET = "S3CRET"


def test_passwords_of_addresses_are_written_nowhere(
    server: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, host = server
    packed = gzip.compress(rows([story(number) for number in range(20)]))
    (folder / "good.jsonl").write_bytes(rows([story(number) for number in range(9)]))
    (folder / "cut.jsonl.gz").write_bytes(packed[:-9])
    (folder / "some.paths").write_bytes(f"http://joe:{SECRET}@{host}/cut.jsonl.gz?sig={SECRET}\n".encode())
    paths = [f"http://joe:{SECRET}@{host}/{name}" for name in (f"good.jsonl?token={SECRET}", "some.paths")]
    monkeypatch.setattr(run, "Cluster", Here)
    notes: list[str] = []
    storage = Storage(tmp_path / "out")
    run.prepare(prep_config([], corpus={"paths": paths}), storage, notes.append)
    for path in (tmp_path / "out").rglob("*"):
        assert SECRET not in path.name
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    for table in (tmp_path / "out").rglob("*.parquet"):
        assert SECRET not in str(pq.read_table(table).to_pylist()), table
    told = "\n".join([*notes, *lines(describe(tmp_path / "out"))])
    assert SECRET not in told
    assert "***" in told
    others = [path.replace(SECRET, "another") for path in paths]
    (folder / "some.paths").write_bytes(
        (folder / "some.paths").read_bytes().replace(SECRET.encode(), b"another")
    )
    run.prepare(prep_config([], corpus={"paths": others}), storage, notes.append)
    assert notes[-1].endswith("is done already")  # a new password makes no new dataset


@pytest.mark.parametrize(
    "path", ["http://joe:S3CRET@{}/none.jsonl", "http://joe:S3CRET@{}/none.paths", "no://joe:S3CRET@h/a"]
)
def test_sentences_have_no_passwords(path: str, server: tuple[Path, str]) -> None:
    with pytest.raises(InputError) as found:
        list_files(CorpusConfig(kind="jsonl", paths=[path.format(server[1])]))
    assert SECRET not in str(found.value)
    assert SECRET not in str(Storage(Path("x"), "s3://joe:S3CRET@host/a"))


def test_a_blocklist_sees_addresses_in_brackets(tmp_path: Path) -> None:
    pages = [record(number, uri="<http://blocked.test/{}>") for number in range(2)]
    (tmp_path / "a.warc").write_bytes(b"".join(pages) + warc(4, False))
    (tmp_path / "blocked").write_text("blocked.test\n")
    filters = {"use": ["url"], "url": {"blocklist": str(tmp_path / "blocked")}}
    config = prep_config(
        [tmp_path / "a.warc"],
        corpus={"kind": "warc", "filters": filters, "extract": {"engine": "resiliparse"}},
        tokenizer={"vocabulary_size": 370},
    )
    prepare_here(config, tmp_path / "out")
    assert describe(tmp_path / "out")["rejected"]["url: blocked"]["documents"] == 2


def test_texts_that_are_unreadable_are_counted(tmp_path: Path) -> None:
    config = CorpusConfig(kind="warc", paths=["x"])
    for content in ("\ufffd" * 30, b"<html><article><p>" + b"\x81\xff " * 300):
        found = document(Page("a", 0, content, charset="shift_jis"), config)
        assert isinstance(found, Failure)
        assert found.reason in ("unreadable characters", "no main text")
    assert isinstance(document(Page("a", 0, FIVE[0][:50].decode()), config), dict)


def test_long_texts_are_cleaned_within_the_time_limit() -> None:
    config = CorpusConfig.model_validate({"kind": "jsonl", "paths": ["x"], "extract": {"seconds": 0.001}})
    found = document(Page("a", 0, "e\u0301 " * 3_000_000), config)
    assert isinstance(found, Failure)
    assert found.reason == "cleaning took too long"
    short = document(Page("a", 0, "word " * 10), config)
    assert isinstance(short, dict)


@pytest.mark.parametrize("mark", [b"", b"{", bytes(200), b"[]", b'{"counts": 5', b"[" * 9_999])
def test_a_part_whose_mark_is_damaged_is_done_again(mark: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(rows([story(number) for number in range(9)]))
    config = prep_config([tmp_path / "rows.jsonl"])
    first = prepare_here(config, tmp_path / "out")
    for path in (tmp_path / "out" / "parts").rglob("*.json"):
        path.write_bytes(mark)
    second = prepare_here(config, tmp_path / "out")
    assert second["input"] == first["input"]
    assert second["train_tokens"] == first["train_tokens"]
