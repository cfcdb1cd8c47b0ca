"""Rewards from an address: what is asked and said, what is tried again, and what is wrong in one sentence."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from data_prep.contract.settings import InputError
from pipeline.preferences import remote
from pipeline.preferences.remote import Remote
from pipeline.preferences.rules import Told, judged, rule_called
from pipeline.prompting.chat import Message


class Scorer(ThreadingHTTPServer):
    """Scores lengths of texts, after some replies that are set before."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.before: list[tuple[int, bytes]] = []
        self.asked: list[dict[str, Any]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/score"


class Handler(BaseHTTPRequestHandler):
    server: Scorer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        scores = [len(one["text"]) for one in body["answers"]]
        default = 200, json.dumps({"scores": scores}).encode()
        status, reply = self.server.before.pop(0) if self.server.before else default
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def scorer() -> Iterator[Scorer]:
    with Scorer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


ANSWERS = [Told((Message("user", "?"),), "four", True, {"n": 1}), Told((Message("user", "?"),), "", False)]


def patient(address: str) -> Remote:
    return Remote(address, timeout=20.0, pauses=(0.0, 0.0))


def test_answers_go_out_and_scores_come_back(scorer: Scorer) -> None:
    """By the name that a recipe gives it, with all that a rule is told."""
    rule = rule_called(scorer.address, "here")
    assert judged("length", rule, ANSWERS) == [4.0, 0.0]
    assert scorer.asked == [
        {
            "answers": [
                {
                    "prompt": [{"role": "user", "content": "?"}],
                    "text": "four",
                    "ended": True,
                    "row": {"n": 1},
                },
                {"prompt": [{"role": "user", "content": "?"}], "text": "", "ended": False, "row": {}},
            ]
        }
    ]


def test_many_answers_go_in_parts(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "AT_ONCE", 3)
    assert patient(scorer.address)([ANSWERS[0]] * 7) == [4.0] * 7
    assert [len(one["answers"]) for one in scorer.asked] == [3, 3, 1]


def test_a_busy_server_is_asked_again(scorer: Scorer) -> None:
    scorer.before = [(503, b""), (429, b"")]
    assert patient(scorer.address)(ANSWERS) == [4.0, 0.0]
    assert len(scorer.asked) == 3


@pytest.mark.parametrize(
    ("replies", "said", "tries"),
    [
        ([(500, b"")] * 3, r"no scores \(status 500\)", 3),
        ([(404, b"")], r"no scores \(status 404\)", 1),
        ([(302, b"")], r"no scores \(status 302\)", 1),
        ([(200, b"<html>")], "no list of 2 numbers under scores, but b'<html>'", 1),
        ([(200, b'{"scores": [1]}')], "no list of 2 numbers", 1),
        ([(200, b'{"scores": [1, true]}')], "no list of 2 numbers", 1),
        ([(200, b'{"scores": {"a": 1, "b": 2}}')], "no list of 2 numbers", 1),
        ([(200, b" " * (remote.LARGEST + 1))], "more than 1,048,576 bytes", 1),
    ],
)
def test_what_is_no_score_is_one_sentence(
    scorer: Scorer, replies: list[tuple[int, bytes]], said: str, tries: int
) -> None:
    scorer.before = list(replies)
    with pytest.raises(InputError, match=rf"rules\.http://127\.0\.0\.1:\d+/score: .*{said}"):
        patient(scorer.address)(ANSWERS)
    assert len(scorer.asked) == tries


def test_scores_that_are_not_finite_are_refused(scorer: Scorer) -> None:
    scorer.before = [(200, b'{"scores": [NaN, 1]}')]
    with pytest.raises(InputError, match="2 finite numbers are expected"):
        judged("length", patient(scorer.address), ANSWERS)


def test_a_server_that_is_not_there_is_one_sentence(scorer: Scorer) -> None:
    address = scorer.address
    scorer.server_close()
    with pytest.raises(InputError, match=r"no scores \(.*refused"):
        patient(address)(ANSWERS)
