"""Input that is broken, huge or malicious: nothing stops a run, and every piece is counted under a reason.

Each time the whole way to a dataset is gone, with good documents beside the bad ones.
"""

import gzip
import io
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from data_prep.config import TokenizerConfig
from data_prep.inspect import describe
from data_prep.tokenize.train import train_model
from tests.data_prep.filters.test_rules import PROSE
from tests.data_prep.helpers import prep_config, prepare_here, real_data, story, write_jsonl

GOOD = (
    f"<html><body><article><h1>Boats</h1><p>{PROSE}</p><p>{PROSE[::-1]}</p></article></body></html>".encode()
)
JUNK = random.Random(0).randbytes(100_000)
PAGES: dict[str, tuple[str, bytes, str]] = {
    # name: the reason it is counted under (none: it is read), the body, its encoding
    "good": ("", GOOD, ""),
    "fifty-megabytes": ("page too large", b"<p>" + b"Words and more. " * 3_200_000, ""),
    "gzip-bomb": ("page too large", gzip.compress(bytes(100_000_000)), "gzip"),
    "broken-gzip": ("broken content encoding", b"\x1f\x8b\x08" + JUNK, "gzip"),
    "binary-junk": ("binary content", JUNK, ""),
    "invalid-utf8": ("", GOOD.replace(b"Boats", b"Boats \xff\xfe\xc0\xaf"), ""),
    "deep-nesting": ("no main text", b"<div>" * 200_000 + b"Far down.", ""),
    "open-comments": ("no main text", b"<!--" * 50_000, ""),
    "entities": ("no main text", b'<!DOCTYPE x [<!ENTITY a "aaaaaaaa">]><p>&a;</p>', ""),
    "empty": ("no main text", b"", ""),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that every text has tokens in, down to single bytes."""
    config = TokenizerConfig(kind="bpe", vocabulary_size=500)
    path = tmp_path_factory.mktemp("tokenizer") / "some.model"
    path.write_bytes(train_model((story(number, 600) for number in range(5)), config))
    return path


def prepared(kind: str, paths: list[Path], folder: Path, model: Path, **corpus: Any) -> dict[str, Any]:
    """What `bloomery inspect` shows of the dataset made of these files."""
    near = {"dedup": {"near": {"enabled": False}}}
    settings = {"kind": kind, **near, **corpus}
    prepare_here(prep_config(paths, corpus=settings, tokenizer={"model": str(model)}), folder)
    return describe(folder)


def reasons(told: dict[str, Any]) -> dict[str, int]:
    return {reason: found["documents"] for reason, found in told["failures"].items()}


def urls(folder: Path) -> set[str]:
    return set(pq.read_table(folder / "documents.parquet")["url"].to_pylist())


def test_pages_that_cannot_be_read(tmp_path: Path, model: Path) -> None:
    buffer = io.BytesIO()
    writer = WARCWriter(buffer, gzip=True)
    for name, (_, body, encoding) in PAGES.items():
        headers = [("Content-Type", "text/html"), ("Content-Encoding", encoding)]
        found = StatusAndHeaders("200 OK", headers, protocol="HTTP/1.1")
        url, payload = f"http://{name}.test/", io.BytesIO(body)
        writer.write_record(writer.create_warc_record(url, "response", payload=payload, http_headers=found))
    (tmp_path / "bad.warc.gz").write_bytes(buffer.getvalue())
    told = prepared("warc", [tmp_path], tmp_path / "out", model)
    assert reasons(told) == Counter(reason for reason, _, _ in PAGES.values() if reason)
    assert urls(tmp_path / "out") == {f"http://{name}.test/" for name, page in PAGES.items() if not page[0]}


def test_files_that_cannot_be_read(tmp_path: Path, model: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bomb.html.gz").write_bytes(gzip.compress(bytes(300_000_000), 1))
    (tmp_path / "in" / "cut.html.gz").write_bytes(gzip.compress(JUNK)[:-5000])
    (tmp_path / "in" / "none.html.zst").write_bytes(b"no such thing")
    (tmp_path / "in" / "junk.html").write_bytes(JUNK)
    for number in range(2):
        (tmp_path / "in" / f"{number}.html").write_bytes(GOOD + b"%d" % number)
        (tmp_path / "in" / f"{number}.html").write_bytes(GOOD.replace(b"Boats", b"Boat %d" % number))
    told = prepared("html", [tmp_path / "in"], tmp_path / "out", model)
    assert reasons(told) == {"page too large": 1, "damaged file": 2, "binary content": 1}
    assert told["splits"]["train"]["documents"] + told["splits"]["validation"]["documents"] == 2


def test_genuine_and_malformed_archives_together(tmp_path: Path, model: Path) -> None:
    folder = real_data("real_warcs")
    archives = [
        path
        for path in sorted(folder.glob("*.warc.*"))
        if path.suffixes[1] == ".gz" or path.suffix in (".lz4", ".bad")
    ]
    assert len(archives) >= 11
    told = prepared("warc", archives, tmp_path / "out", model)
    assert reasons(told).keys() <= {"record cut off", "damaged file", "no main text", "binary content"}
    assert reasons(told)["record cut off"] == reasons(told)["damaged file"] == 1
    assert told["funnel"][0]["documents"] == 92


EVERY = ["url", "language", "gopher_repetition", "gopher_quality", "c4", "fineweb"]
words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)
documents = st.one_of(
    st.text(st.characters(codec=None), max_size=200),  # any code point, half surrogates too
    st.text(st.sampled_from(" \t\n\r\u2028\u0085#….-•{}[]\"'\0\u200b"), max_size=200),
    st.lists(words, max_size=60).map(" ".join),
    st.tuples(words, st.integers(0, 300)).map(lambda pair: (pair[0] + "\n") * pair[1]),
)


def test_ten_thousand_documents_of_any_kind(tmp_path: Path, model: Path) -> None:
    """As many lines are kept, rejected under a rule, or counted under a reason, as there were."""
    found: list[str] = []

    @settings(
        max_examples=10_000 // 20,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(documents, min_size=20, max_size=20))
    def collect(texts: list[str]) -> None:
        found.extend(texts)

    collect()
    (tmp_path / "any.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in found[:10_000]))
    write_jsonl(tmp_path / "good.jsonl", [story(number, 600) for number in range(4)])
    filters = {"use": EVERY, "language": {"threshold": 0.0, "keep": []}}
    paths = [tmp_path / "any.jsonl", tmp_path / "good.jsonl"]
    told = prepared("jsonl", paths, tmp_path / "out", model, filters=filters, dedup={})
    kept = sum(split["documents"] for split in told["splits"].values())
    rejected = {rule: about["documents"] for rule, about in told["rejected"].items()}
    assert kept + sum(rejected.values()) + sum(reasons(told).values()) == 10_004
    assert reasons(told).keys() == {"empty text"}
    assert len(rejected) >= 5
