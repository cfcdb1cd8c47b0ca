"""Heads of requests that come too slowly: closed in time, whatever drips in; all others are answered."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from launch.serving import heads
from launch.serving.api import Api
from launch.serving.guard import Guard
from launch.serving.server import Server, listening

WHOLE = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
WAIT = 60.0


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Says yes, after a body where there is one."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"yes"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that waits half a second for a head."""
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.5)
    api = SimpleNamespace(stopping=False, scheduler=SimpleNamespace(drain=lambda seconds: None))
    server = Server(cast(Api, api), Guard(app, None), 0.0)
    with listening("127.0.0.1", 0) as taken:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[taken])))
        thread.start()
        yield taken.getsockname()[1]
        server.handle_exit(0, None)
        thread.join()


def connected(port: int) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", port), WAIT)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def rest(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(4096):
            said += part
    return said


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nhost: loc"])
def test_a_head_that_does_not_come_closes_its_connection(port: int, begun: bytes) -> None:
    with connected(port) as client:
        client.sendall(begun)
        assert rest(client).startswith(b"HTTP/1.1 408 ")


def test_drops_do_not_put_it_off(port: int) -> None:
    """A header line that never ends, a byte at a time, for as long as the server listens."""
    with connected(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nx: ")
        sender = threading.Thread(target=drip, args=(client,))
        sender.start()
        assert rest(client).startswith(b"HTTP/1.1 408 ")
        client.close()
        sender.join(WAIT)
        assert not sender.is_alive()


def drip(client: socket.socket) -> None:
    """Send until the connection is closed."""
    with contextlib.suppress(OSError):
        while True:
            client.sendall(b"a")
            time.sleep(0.01)


def answered(client: socket.socket) -> bool:
    """Whether the next that is said is the whole answer."""
    said = b""
    while not said.endswith(b"yes") and (part := client.recv(4096)):
        said += part
    return said.startswith(b"HTTP/1.1 200 OK")


def test_what_is_answered_stops_the_clock(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the first byte of the next request; and a body has a time of its own."""
    monkeypatch.setattr(heads, "HEAD_SECONDS", 2.0)
    with connected(port) as client, connected(port) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\na")
        client.sendall(WHOLE)
        assert answered(client)
        time.sleep(2.5)
        client.sendall(WHOLE)
        assert answered(client)
        slow.sendall(b"b")
        assert answered(slow)
        client.sendall(WHOLE[:5])
        assert rest(client).startswith(b"HTTP/1.1 408 ")
