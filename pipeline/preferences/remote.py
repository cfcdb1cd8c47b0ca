"""A reward at an address: answers are posted as JSON, numbers come back.

    rules: {"http://127.0.0.1:8000/score": 1.0}

    asked  {"answers": [{"prompt": [{"role": ..., "content": ...}], "text": ..., "ended": ..., "row": {...}}]}
    said   {"scores": [0.5, ...]}        as many finite numbers

Whoever serves it may be busy or restart: a refused connection, a time-out and the statuses 408, 429 and 5xx
are tried again. Anything else, and a server that stays away, is one sentence. Redirects are not followed, for
answers go nowhere but where the recipe says.
"""

import http.client
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from data_prep.contract.reading import printable, without_password
from data_prep.contract.settings import InputError

if TYPE_CHECKING:
    from pipeline.preferences.rules import Told

SCHEMES = ("http://", "https://")
AT_ONCE = 256
"""Answers in one request."""
LARGEST = 1 << 20
"""Bytes of a reply."""
BUSY = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that pass by."""


class _Stays(HTTPRedirectHandler):
    """A redirect is an answer like another."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@dataclass(frozen=True)
class Remote:
    """A rule that asks an address."""

    address: str
    timeout: float = 60.0
    """Seconds until a connection, and between two parts of a reply."""
    pauses: tuple[float, ...] = (1.0, 4.0, 15.0)
    """Seconds before each further try."""

    def __call__(self, answers: "Sequence[Told]") -> list[float]:
        found: list[float] = []
        for first in range(0, len(answers), AT_ONCE):
            found += self._asked(answers[first : first + AT_ONCE])
        return found

    def _asked(self, answers: "Sequence[Told]") -> list[float]:
        body = json.dumps({"answers": [plain(one) for one in answers]}).encode()
        problem = ""
        for pause in (0.0, *self.pauses):
            time.sleep(pause)
            try:
                return self._read(self._post(body), len(answers))
            except HTTPError as error:
                problem = f"status {error.code}"
                if error.code not in BUSY:
                    break
            except (URLError, OSError, http.client.HTTPException) as error:
                problem = str(getattr(error, "reason", error)) or type(error).__name__
        raise self._wrong(f"no scores ({problem})")

    def _post(self, body: bytes) -> bytes:
        request = Request(self.address, body, {"Content-Type": "application/json"})
        with build_opener(_Stays).open(request, timeout=self.timeout) as reply:
            return bytes(reply.read(LARGEST + 1))

    def _read(self, reply: bytes, count: int) -> list[float]:
        if len(reply) > LARGEST:
            raise self._wrong(f"a reply of more than {LARGEST:,} bytes")
        try:
            scores = json.loads(reply)["scores"]
            found = [float(one) for one in scores if not isinstance(one, bool | str)]
        except (ValueError, TypeError, KeyError, RecursionError):
            found = []
        if len(found) != count:
            raise self._wrong(f"no list of {count} numbers under scores, but {reply[:80]!r}")
        return found

    def _wrong(self, problem: str) -> InputError:
        return InputError(f"rules.{without_password(self.address)}: {printable(problem)[:300]}")


def plain(one: "Told") -> dict[str, Any]:
    """An answer as JSON has it."""
    prompt = [{"role": turn.role, "content": turn.content} for turn in one.prompt]
    return {"prompt": prompt, "text": one.text, "ended": one.ended, "row": dict(one.row)}
