"""Who is let in: names of this machine, pages of the server's own, and keys."""

import socket
from pathlib import Path

import httpx2
import openai
import pytest
from starlette.datastructures import Headers

from data_prep.contract.settings import InputError
from launch.serving.guard import HEADERS, Guard
from launch.serving.limits import Limits
from launch.serving.server import KEY_VARIABLE, Settings, find_key, listening
from tests.launch.serving.made import client, double, serving

KEY = "a-key-of-many-letters"


async def app(*_: object) -> None:
    """Never asked."""


def status(headers: dict[str, str], key: str | None = None, path: str = "/v1/models") -> int:
    refusal = Guard(app, key).refusal(path, Headers(headers))
    return refusal.status if refusal else 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("127.1.2.3", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8000", 403),
        ("127.0.0.1.evil.example", 403),
        ("192.168.1.2:8000", 403),
        ("0.0.0.0:8000", 403),
        ("evil.example@localhost", 400),
        ("localhost/evil", 400),
        ("localhost,evil", 400),
        ("[::1", 403),
        ("", 400),
        ("ü", 400),
    ],
)
def test_only_names_of_this_machine_are_answered_without_a_key(host: str, expected: int) -> None:
    assert status({"host": host}) == expected
    assert status({}) == 400


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"origin": "http://localhost:8000"}, 200),
        ({"origin": "https://localhost:8000"}, 200),
        ({"origin": "http://localhost:9000"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_other_pages_are_not_answered_with_a_key_or_without(headers: dict[str, str], expected: int) -> None:
    both = {"host": "localhost:8000", **headers}
    assert status(both) == expected
    assert status({**both, "authorization": f"Bearer {KEY}"}, KEY) == expected
    assert status({"host": "localhost:8000", "sec-fetch-site": "cross-site"}, path="/") == 200  # a link


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer  {KEY}", 200),
        (f"Bearer {KEY}x", 401),
        (f"Basic {KEY}", 401),
        (KEY, 401),
        ("Bearer ", 401),
        ("Bearer ü", 401),
    ],
)
def test_a_key_opens_what_it_is_for(given: str, expected: int) -> None:
    headers = {"host": "model.example", "authorization": given}
    assert status(headers, KEY) == status(headers, KEY, "/metrics") == expected
    assert status({"host": "model.example"}, KEY, "/health") == 200


def test_where_a_key_comes_from_and_when_there_must_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert find_key(Settings()) is None
    with pytest.raises(InputError, match=r"--host 0\.0\.0\.0 lets other machines in.*--key-file FILE"):
        find_key(Settings(host="0.0.0.0"))
    file = tmp_path / "key"
    for content in ("", "short", "with a space in it, and long", "ü" * 20):
        file.write_text(content)
        with pytest.raises(InputError, match="a key of 16 to 1000"):
            find_key(Settings(key_file=file))
    file.write_text(f"{KEY}\n")
    assert find_key(Settings(host="0.0.0.0", key_file=file)) == KEY
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert find_key(Settings(host="0.0.0.0")) == KEY


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} on 127.0.0.1 cannot be had .*--port 0"):
            listening("127.0.0.1", port)
    with pytest.raises(InputError, match=r"--host no\.such\.host\.invalid: no address"):
        listening("no.such.host.invalid", 0)


def test_a_server_with_a_key_from_outside(tmp_path: Path) -> None:
    served = double(tmp_path / "run", "gpt2")
    with serving(served, tmp_path / "feedback", Limits(tokens=8), KEY) as (address, _):
        assert client(address, KEY).completions.create(model=served.name, prompt="a").choices
        with pytest.raises(openai.AuthenticationError, match="the key is missing or wrong"):
            client(address, "another-key-of-letters").models.list()
        page = httpx2.get(f"{address}/", headers={"host": "model.example"})
        assert page.status_code == 200
        assert HEADERS.items() <= dict(page.headers).items()
        assert httpx2.get(f"{address}/about").headers["www-authenticate"] == "Bearer"
