"""10,000 malformed requests: each gets an answer of status 4xx, and none of them harms the next good one."""

import json
import random
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from launch.serving.api import Api
from launch.serving.limits import Limits
from tests.launch.serving.made import NAME, client, double, serving

pytestmark = pytest.mark.slow
COUNT = 10_000
PATHS = ("/v1/chat/completions", "/v1/completions", "/votes")
GOOD: dict[str, dict[str, Any]] = {
    PATHS[0]: {"model": NAME, "messages": [{"role": "user", "content": "a"}], "max_tokens": 2},
    PATHS[1]: {"model": NAME, "prompt": "a", "max_tokens": 2},
    PATHS[2]: {"model": NAME, "messages": [{"role": "user", "content": "a"}], "answer": "b", "vote": "up"},
}
VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, 10**30, -0.0, float("nan"), float("inf")),
    *("", "a", "\x00", "\ud800", "9" * 5000, "../../etc/passwd"),
    *([], [[]], [None], ["a", 1], [[1, "a"]], [[-1]], [10**9], [[10**12]]),
    *({}, {"a": 1}, {"type": "json_object"}, [{"role": "user"}], [{"content": "a"}]),
    *([{"role": "tool", "content": "a"}], [{"role": "user", "content": {}}]),
]
NAMES = """
    model messages prompt temperature top_p top_k n seed stop stream stream_options max_tokens logprobs
    top_logprobs echo best_of suffix tools logit_bias vote answer response_format frequency_penalty
    functions __proto__ metadata user max_completion_tokens
"""
KEYS = NAMES.split()


def wrong_value(choose: random.Random) -> bytes:
    """A good body with a value, or several, that it cannot have."""
    path = choose.choice(PATHS)
    body = dict(GOOD[path])
    for _ in range(choose.randint(1, 3)):
        body[choose.choice(KEYS)] = choose.choice(VALUES)
    body["no such key"] = choose.choice(VALUES)  # some of the values above are right
    return posted(path, json.dumps(body).encode())


def missing_key(choose: random.Random) -> bytes:
    path = choose.choice(PATHS)
    body = dict(GOOD[path])
    del body[choose.choice([key for key in body if key != "max_tokens"])]
    return posted(path, json.dumps(body).encode())


def broken_json(choose: random.Random) -> bytes:
    path = choose.choice(PATHS)
    content = bytearray(json.dumps(GOOD[path]).encode())
    for _ in range(choose.randint(1, 4)):
        place = choose.randrange(len(content))
        content[place : place + choose.randint(0, 3)] = choose.randbytes(choose.randint(0, 3))
    return posted(path, bytes(content[: choose.randint(0, len(content) - 1)]))


def deep_json(choose: random.Random) -> bytes:
    start, end = choose.choice([(b"[", b"]"), (b'{"a":', b"}")])
    depth = choose.choice([101, 1000, 50_000])
    return posted(choose.choice(PATHS), start * depth + b"1" + end * depth)


def wrong_head(choose: random.Random) -> bytes:
    path = choose.choice(PATHS)
    content = json.dumps(GOOD[path]).encode()
    heads = [
        {"host": "evil.example"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"content-type": "text/plain"},
        {"content-type": ""},
        {"content-length": "-1"},
        {"content-length": "nine"},
        {"content-length": "99999999999"},
        {"transfer-encoding": "gzip"},
        {"x": "y" * 70_000},
        {"bad name": "1"},
    ]
    return posted(path, content, choose.choice(heads))


def wrong_place(choose: random.Random) -> bytes:
    method = choose.choice(["GET", "PUT", "DELETE", "PATCH", "POST", "OPTIONS", "BREW"])
    odd = ["/v1/../page.py", "/%00", "/page.css/", "/" + "a" * 900, "//", "/%ff", "/x?y=%zz"]
    return request(method, choose.choice([*odd, "/v1/models/nobody"]), b"")


def no_http(choose: random.Random) -> bytes:
    garbage = choose.randbytes(choose.randint(1, 200)).replace(b"\n", b"x") + b"\r\n\r\n"
    odd = [b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\x16\x03\x01" + garbage, garbage]
    return choose.choice(odd)


def posted(path: str, content: bytes, heads: dict[str, str] | None = None) -> bytes:
    return request("POST", path, content, {"content-type": "application/json", **(heads or {})})


def request(method: str, path: str, content: bytes, heads: dict[str, str] | None = None) -> bytes:
    given = {"host": "localhost", "content-length": str(len(content)), "connection": "close", **(heads or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + content


KINDS: list[Callable[[random.Random], bytes]] = [
    wrong_value, missing_key, broken_json, deep_json, wrong_head, wrong_place, no_http,
]  # fmt: skip


def status(address: str, sent: bytes) -> tuple[int, bytes]:
    """What a server answers to these bytes, after which nothing more comes from the client."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=120) as one:
        parts = []
        try:
            one.sendall(sent)
            one.shutdown(socket.SHUT_WR)
            while part := one.recv(1 << 16):
                parts.append(part)
        except (ConnectionResetError, BrokenPipeError):
            pass  # it was answered before all of it was read
    reply = b"".join(parts)
    return int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/1.1 ") else 0, reply


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Api]]:
    folder = tmp_path_factory.mktemp("server")
    with serving(double(folder / "run", "gpt2"), folder / "feedback", Limits(tokens=8)) as one:
        yield one


def test_each_is_answered_with_a_4xx(server: tuple[str, Api]) -> None:
    address, api = server
    choose, seen = random.Random(0), dict[int, int]()
    for number in range(COUNT):
        kind = KINDS[number % len(KINDS)]
        sent = kind(choose)
        found, reply = status(address, sent)
        assert 400 <= found < 500 or (found == 0 and kind is wrong_head), (kind.__name__, sent[:2000], reply)
        seen[found] = seen.get(found, 0) + 1
    assert {400, 403, 404, 405, 415} <= seen.keys()
    assert seen.get(0, 0) < COUNT // 30  # heads that promise more than comes, or are not read to their end
    assert not any(code >= 500 for _, code in api.metrics.requests)
    assert api.scheduler.load().running == 0
    for _ in range(3):
        assert client(address).completions.create(model=NAME, prompt="a", max_tokens=3).choices
