"""Every kind of corpus in every place it may lie: a file, a folder, a glob, a list, a bucket, the web."""

import functools
import gzip
import http.server
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from data_prep.collect import read_all
from data_prep.config import CorpusConfig
from data_prep.contract.settings import InputError
from data_prep.documents import Page
from data_prep.sources import list_files

HTML = b"<html><body><p>The boats come back with the tide.</p></body></html>"


def archive(kind: str, body: bytes) -> bytes:
    """A WARC file with one record: a page that was found, or the text of one."""
    found = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
    about: dict[str, Any] = {"warc_content_type": "text/plain"}
    if kind == "response":
        about = {"http_headers": found}
    buffer = io.BytesIO()
    writer = WARCWriter(buffer, gzip=True)
    writer.write_record(writer.create_warc_record("http://a.test/", kind, payload=io.BytesIO(body), **about))
    return buffer.getvalue()


def arc() -> bytes:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + HTML
    head = b"1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n"
    records = ((b"filedesc://a.arc", b"text/plain", head), (b"http://a.test/", b"text/html", page))
    return b"".join(
        b"%s 192.0.2.1 20200101000000 %s %d\n%s\n" % (url, kind, len(body), body)
        for url, kind, body in records
    )


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["The tide."]}), buffer)
    return buffer.getvalue()


FILES: dict[str, tuple[str, bytes, bytes | str]] = {
    "warc": ("a.warc.gz", archive("response", HTML), HTML),
    "arc": ("a.arc", arc(), HTML),
    "wet": ("a.wet.gz", archive("conversion", b"The tide."), "The tide."),
    "html": ("a.html", HTML, HTML),
    "text": ("a.txt", b"The tide.", "The tide."),
    "jsonl": ("a.jsonl", json.dumps({"text": "The tide."}).encode() + b"\n", "The tide."),
    "parquet": ("a.parquet", parquet(), "The tide."),
}
PLACES = ["file", "folder", "glob", "list", "bucket", "bucket folder", "bucket glob", "web", "web list"]


class GoogleStandIn(MemoryFileSystem):
    """Answers to gs:// like the real client, which is not installed here."""

    protocol = "gs"
    store: dict[str, Any] = {}  # noqa: RUF012 - as in its parent
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + str(path).removeprefix("gs://").strip("/")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A folder, a bucket and a web server with the same files, each kind in a folder of its own."""
    root = tmp_path_factory.mktemp("places")
    known = fsspec.registry.get("gs")
    fsspec.register_implementation("gs", GoogleStandIn, clobber=True)
    for kind, (name, content, _) in FILES.items():
        (root / kind).mkdir()
        (root / kind / name).write_bytes(content)
        (root / f"{kind}.paths.gz").write_bytes(gzip.compress(f"{kind}/{name}\n".encode()))
        GoogleStandIn().pipe(f"/crawl/{kind}/{name}", content)
    handler = functools.partial(Quiet, directory=str(root))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {"root": root, "web": f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()
    server.server_close()
    if known:
        fsspec.register_implementation("gs", known, clobber=True)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", FILES)
def test_every_kind_in_every_place(kind: str, place: str, places: dict[str, Any]) -> None:
    name, _, content = FILES[kind]
    root, web = places["root"], places["web"]
    path, prefix = {
        "file": (f"{root}/{kind}/{name}", ""),
        "folder": (f"{root}/{kind}", ""),
        "glob": (f"{root}/{kind}/a*", ""),
        "list": (f"{root}/{kind}.paths.gz", f"{root}/"),
        "bucket": (f"gs://crawl/{kind}/{name}", ""),
        "bucket folder": (f"gs://crawl/{kind}", ""),
        "bucket glob": (f"gs://crawl/{kind}/a*", ""),
        "web": (f"{web}/{kind}/{name}", ""),
        "web list": (f"{web}/{kind}.paths.gz", f"{web}/"),
    }[place]
    corpus = CorpusConfig.model_validate(
        {"kind": "warc" if kind == "arc" else kind, "paths": [path], "path_prefix": prefix}
    )
    [(_, page)] = read_all(list_files(corpus), corpus)
    assert isinstance(page, Page)
    assert (page.source, page.content) == (name, content)


def test_storage_whose_client_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = CorpusConfig(kind="text", paths=["gs://crawl/text"])

    def missing(*_: object, **__: object) -> None:
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(InputError, match=r"gs://crawl/text needs a package .* \(Please install gcsfs"):
        list_files(corpus)
