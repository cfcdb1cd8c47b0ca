"""Real MLflow servers on loopback, and a proxy before one that makes it slow or full."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    uri: str
    pid: int

    def limit_files(self, size: int) -> None:
        """Let its processes write files up to a size only, as on a full disk."""
        parent = psutil.Process(self.pid)
        for process in [parent, *parent.children(recursive=True)]:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[Server]:
    """An MLflow server on loopback with its store and artifacts in `folder`."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", process, folder / "server.log")
        yield Server(f"http://127.0.0.1:{port}", process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_healthy(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.time() + 600
    while time.time() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=60):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def wait_for(condition: Callable[[], bool], seconds: float = 600) -> None:
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline
        time.sleep(0.05)


def held_up(action: Callable[[], object]) -> float:
    """Seconds that an action took, less those in which this thread worked or waited for a core.

    So a busy machine counts for nothing, and waiting for a server counts.
    """
    started, before = time.perf_counter(), _on_or_for_a_core()
    action()
    return time.perf_counter() - started - (_on_or_for_a_core() - before)


def _on_or_for_a_core() -> float:
    ran, waited, _ = Path("/proc/thread-self/schedstat").read_text().split()
    return (int(ran) + int(waited)) / 1e9


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server, as it is told at the moment.

    pass    and its answers back
    slow    but its answers only after `delay` seconds, when the client may be gone
    507     no request, and says that the server's disk is full
    """

    daemon_threads = True

    def __init__(self, uri: str, delay: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.delay, self.mode = uri, delay, "pass"
        self.requests = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def uri(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is gone is no error here."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def _answer(self) -> None:
        proxy, body = self.server, self.rfile.read(int(self.headers.get("Content-Length") or 0))
        proxy.requests += 1
        if proxy.mode == "507":
            return self._send(507, b"Insufficient Storage")
        mode, headers = proxy.mode, dict(self.headers.items())
        request = urllib.request.Request(proxy.target + self.path, body or None, headers, method=self.command)
        try:
            with urllib.request.urlopen(request, timeout=60) as found:
                status, answer = found.status, found.read()
        except urllib.error.HTTPError as error:
            status, answer = error.code, error.read()
        time.sleep(proxy.delay if mode == "slow" else 0)
        return self._send(status, answer)

    def _send(self, status: int, answer: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 - the names of http.server

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing into the tests' output."""
