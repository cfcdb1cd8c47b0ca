"""Who may ask: what every request is checked for before anything reads it.

A server on this machine alone, without a key, would answer whatever page a browser has open: by its address,
which the browser does not let it read, or by a name of the page's own that is made to point here (DNS
rebinding). So without a key the name that is asked for must be this machine's; and what a browser says that
another page asks (`Origin`, `Sec-Fetch-Site`) is refused always. With a key no page can ask that does not
have it, since no browser sends it by itself.
"""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from launch.serving import replies

FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in ("api", "page", "store", "text")},
}
"""The page, by path: its files and what they are."""
OPEN = frozenset({*FILES, "/health"})
"""What needs no key: the page, which asks for it, and whether the server is alive."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True)
class Refusal:
    status: int
    words: str
    code: str


@dataclass(frozen=True)
class Guard:
    """The checks, around an application."""

    app: ASGIApp
    key: str | None
    """What a client must send as `Authorization: Bearer KEY`; None lets everybody on this machine in."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        assert scope["type"] == "http"
        refusal = self.refusal(scope["path"], Headers(scope=scope))
        if refusal is None:
            await self.app(scope, receive, _with_headers(send))
            return
        content = replies.error(refusal.words, "invalid_request_error", refusal.code)
        response = JSONResponse(content, refusal.status)
        if refusal.status == 401:
            response.headers["www-authenticate"] = "Bearer"
        await response(scope, receive, _with_headers(send))

    def refusal(self, path: str, headers: Headers) -> Refusal | None:
        """Why a request is refused; None for one that is not."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not _plain(hosts[0]):
            return Refusal(400, "one plain Host header is expected", "invalid_host")
        if self.key is None and not is_loopback(_name(hosts[0])):
            return Refusal(403, f"{hosts[0]} is no name of this machine; ask for localhost", "invalid_host")
        if any(not _same(origin, hosts[0]) for origin in headers.getlist("origin")):
            return Refusal(403, "another page's requests are not answered", "cross_origin")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and path != "/":
            return Refusal(403, "another page's requests are not answered", "cross_origin")
        if self.key is not None and path not in OPEN and not self._has_key(headers):
            return Refusal(401, "the key is missing or wrong: Authorization: Bearer KEY", "invalid_api_key")
        return None

    def _has_key(self, headers: Headers) -> bool:
        assert self.key is not None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self.key.encode())
        return scheme.lower() == "bearer" and right


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine to itself alone.

    >>> [is_loopback(one) for one in ("localhost", "127.0.0.1", "::1", "localhost.evil.example", "0.0.0.0")]
    [True, True, True, False, False]
    """
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _plain(host: str) -> bool:
    return 0 < len(host) <= 255 and host.isascii() and host.isprintable() and not {*host} & {*" /\\@?#,;"}


def _name(host: str) -> str:
    """The name in a Host header, without a port and an IPv6 address's brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _same(origin: str, host: str) -> bool:
    """Whether a browser's page is from the host that it asks."""
    return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending
