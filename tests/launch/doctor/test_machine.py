"""What the doctor says of this machine, and of machines that are not well."""

import http.server
import threading
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from launch.doctor import machine
from launch.doctor.finding import Finding, size


@pytest.mark.parametrize(
    ("number", "expected"), [(900, "900 B"), (3 << 20, "3 MiB"), (3 << 30, "3.0 GiB"), (20 << 40, "20.0 TiB")]
)
def test_sizes(number: int, expected: str) -> None:
    assert size(number) == expected


def test_a_line_says_what_to_do() -> None:
    assert Finding("disk", "fail", "1 B free", "make room").line().endswith("-> make room")


@pytest.mark.parametrize("extra", ["train", "prep"])
def test_what_is_installed_here_is_right(extra: str) -> None:
    assert machine.packages(extra).status == "ok"


@pytest.mark.parametrize(
    ("absent", "status", "said"),
    [({"torch", "deepspeed"}, "warn", "not installed: deepspeed, torch"), ({"psutil"}, "fail", "psutil")],
)
def test_missing_packages(absent: set[str], status: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name in absent:
            raise metadata.PackageNotFoundError
        return metadata.version(name)

    monkeypatch.setattr(machine, "version", version)
    found = machine.packages("train")
    assert found.status == status
    assert said in found.found
    assert "pip install 'bloomery[train]'" in found.advice


def test_another_version_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "version", lambda name: "0.1" if name == "torch" else metadata.version(name))
    found = machine.packages("train")
    assert found.status == "fail"
    assert "torch 0.1 (<2.14,>=2.11 is wanted)" in found.found


def test_a_container_with_little_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(free=64 << 20))
    found = machine.shared_memory(tmp_path)
    assert found.status == "warn"
    assert "64 MiB free" in found.found
    assert "--ipc=host" in found.advice


class Server(http.server.BaseHTTPRequestHandler):
    """Answers as MLflow does, or with the status that the server was given."""

    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/version" else 404)  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(b"3.17.2")

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    made = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [(200, "ok", "MLflow 3.17.2"), (401, "warn", "wants credentials"), (502, "warn", "answers 502")],
)
def test_a_tracking_server(
    server: http.server.HTTPServer, answer: int, status: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status = answer  # type: ignore[attr-defined]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}/")
    found = machine.tracking(Path())
    assert (found.status, said in found.found) == (status, True)


def test_no_tracking_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    found = machine.tracking(Path())
    assert found.status == "warn"
    assert "does not answer" in found.found
    assert "bloomery sync" in found.advice
