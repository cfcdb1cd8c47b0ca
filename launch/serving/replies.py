"""What clients of OpenAI's API get: the objects of chat completions and completions, whole or in chunks."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from launch.serving.answers import Answer, Piece, TokenLog
from launch.serving.served import Served

Reply = dict[str, Any]


def error(words: str, kind: str, code: str | None = None, param: str | None = None) -> Reply:
    """What is wrong, in one sentence."""
    return {"error": {"message": words, "type": kind, "param": param, "code": code}}


def model_card(served: Served) -> Reply:
    """An entry of /v1/models."""
    return {"id": served.name, "object": "model", "created": served.created, "owned_by": "bloomery"}


@dataclass
class Replies:
    """The replies to one request; chat's and completions' differ in the shape of a choice alone."""

    served: Served
    prompt_tokens: int
    """Ids of all prompts together."""
    with_usage: bool = False
    """Whether every chunk has the key `usage`, and the last one what was used."""
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))
    prefix, whole_name, chunk_name = "", "", ""

    def first(self, index: int) -> Reply | None:
        """The chunk that a stream of an answer begins with, if it does with one of its own."""
        raise NotImplementedError

    def chunk(self, piece: Piece) -> Reply:
        """A piece of an answer."""
        return self._chunk([self._part(piece)])

    def whole(self, pieces: Sequence[Piece], answers: Sequence[Answer]) -> Reply:
        """All answers at once, each as one piece."""
        choices = [self._choice(piece) for piece in pieces]
        return {**self._head(self.whole_name), "choices": choices, "usage": self._usage(answers)}

    def last(self, answers: Sequence[Answer]) -> Reply:
        """The chunk with what was used."""
        return {**self._chunk([]), "usage": self._usage(answers)}

    def _part(self, piece: Piece) -> Reply:
        raise NotImplementedError

    def _choice(self, piece: Piece) -> Reply:
        raise NotImplementedError

    def _chunk(self, choices: list[Reply]) -> Reply:
        usage = {"usage": None} if self.with_usage else {}
        return {**self._head(self.chunk_name), "choices": choices, **usage}

    def _head(self, name: str) -> Reply:
        return {
            "id": f"{self.prefix}-{self.id}",
            "object": name,
            "created": self.created,
            "model": self.served.name,
            "system_fingerprint": f"step-{self.served.model.step:06d}",
        }

    def _usage(self, answers: Sequence[Answer]) -> Reply:
        made = sum(answer.tokens for answer in answers)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": made,
            "total_tokens": self.prompt_tokens + made,
        }


class ChatReplies(Replies):
    """Those of /v1/chat/completions."""

    prefix, whole_name, chunk_name = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def first(self, index: int) -> Reply:
        """Who speaks."""
        delta = {"role": "assistant", "content": ""}
        return self._chunk([{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}])

    def _part(self, piece: Piece) -> Reply:
        delta = {"content": piece.text} if piece.text else {}
        return {"index": piece.index, "delta": delta, **self._rest(piece)}

    def _choice(self, piece: Piece) -> Reply:
        message = {"role": "assistant", "content": piece.text, "refusal": None}
        return {"index": piece.index, "message": message, **self._rest(piece)}

    def _rest(self, piece: Piece) -> Reply:
        logs = [self._log(one) for one in piece.logs]
        return {
            "logprobs": {"content": logs, "refusal": None} if logs else None,
            "finish_reason": piece.finish,
        }

    def _log(self, one: TokenLog) -> Reply:
        top = [self._entry(token, log) for token, log in one.likeliest]
        return {**self._entry(one.token, one.log), "top_logprobs": top}

    def _entry(self, token: int, log: float) -> Reply:
        return {"token": self.served.piece(token), "logprob": log, "bytes": self.served.piece_bytes(token)}


class TextReplies(Replies):
    """Those of /v1/completions."""

    prefix, whole_name, chunk_name = "cmpl", "text_completion", "text_completion"

    def first(self, index: int) -> None:
        """Nothing comes before the text."""

    def _part(self, piece: Piece) -> Reply:
        return {
            "index": piece.index,
            "text": piece.text,
            "logprobs": self._logs(piece.logs) if piece.logs else None,
            "finish_reason": piece.finish,
        }

    _choice = _part

    def _logs(self, logs: Sequence[TokenLog]) -> Reply:
        piece = self.served.piece
        return {
            "tokens": [piece(one.token) for one in logs],
            "token_logprobs": [one.log for one in logs],
            "top_logprobs": [{piece(token): log for token, log in one.likeliest} for one in logs],
            "text_offset": [one.offset for one in logs],
        }
