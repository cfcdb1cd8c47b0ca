"""The routes of the server: the page, OpenAI's API, votes, health and metrics.

Whatever is wrong with a request is an answer of status 4xx with one sentence in OpenAI's shape; a full queue
is 429, a server that is stopping 503.
"""

import asyncio
import contextlib
import json
import secrets
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from data_prep.contract.cleaning import clean
from data_prep.contract.reading import read_json
from data_prep.contract.settings import InputError
from launch.serving import metrics as measured
from launch.serving import replies
from launch.serving.answers import Answer, BrokenError, Piece, Pieces
from launch.serving.feedback import Feedback, Vote
from launch.serving.guard import FILES
from launch.serving.limits import BODY_BYTES, BODY_SECONDS, Limits
from launch.serving.replies import ChatReplies, Replies, TextReplies
from launch.serving.served import PromptError, Served
from launch.serving.wire import Asked, ChatAsked, TextAsked, WrongRequestError, read
from pipeline.generation.continuous import Request as Generation
from pipeline.generation.scheduler import BusyError, Scheduler

WRONG = "invalid_request_error"


@dataclass
class Api:
    """What the routes share."""

    served: Served
    scheduler: Scheduler
    feedback: Feedback
    limits: Limits
    metrics: measured.Metrics = field(default_factory=measured.Metrics)
    stopping: bool = False

    def app(self) -> Starlette:
        """The application."""
        routes = [
            *(Route(path, self._page, methods=["GET"]) for path in FILES),
            Route("/health", self._health, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/about", self._about, methods=["GET"]),
            Route("/votes", self._vote, methods=["POST"]),
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/v1/models/{name:path}", self._model, methods=["GET"]),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/completions", self._complete, methods=["POST"]),
        ]
        counted = [
            Route(one.path, self._counting(one.path, one.endpoint), methods=[*(one.methods or ())])
            for one in routes
        ]
        app = Starlette(routes=counted, exception_handlers={HTTPException: _no_route})
        app.router.redirect_slashes = False
        return app

    def _counting(
        self, route: str, endpoint: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """A route that counts its replies, and gives every error its reply."""

        async def answer(request: Request) -> Response:
            try:
                response = await endpoint(request)
            except Exception as error:
                response = self._refused(error)
            self.metrics.requests[route, response.status_code] += 1
            return response

        return answer

    def _refused(self, error: Exception) -> Response:
        if isinstance(error, ClientDisconnect):
            self.metrics.given_up += 1
            return _json(replies.error("the client went away", WRONG), 499)
        if isinstance(error, HTTPException):
            return _json(replies.error(error.detail, WRONG), error.status_code)
        if isinstance(error, WrongRequestError):
            return _json(replies.error(str(error), WRONG, param=error.param), 400)
        if isinstance(error, PromptError):
            return _json(replies.error(str(error), WRONG, "context_length_exceeded"), 400)
        if isinstance(error, InputError):
            return _json(replies.error(str(error), WRONG), 400)
        if isinstance(error, BusyError):
            if self.stopping:
                return _json(replies.error("the server is stopping", "server_error", "stopping"), 503)
            words = "as many answers as this server takes are waiting; try again"
            return _json(replies.error(words, "rate_limit_error", "queue_full"), 429, {"retry-after": "1"})
        if isinstance(error, BrokenError):
            return _json(replies.error(str(error), "server_error"), 503 if self.stopping else 500)
        if isinstance(error, OSError):  # a full disk, or a folder that is gone
            words = f"the server cannot keep this ({error.strerror or type(error).__name__})"
            return _json(replies.error(words, "server_error"), 503)
        traceback.print_exception(error)
        return _json(replies.error("something went wrong in the server", "server_error"), 500)

    async def _page(self, request: Request) -> Response:
        name, kind = FILES[request.url.path]
        content = files("launch.serving").joinpath("page", name).read_bytes()
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    async def _health(self, _: Request) -> Response:
        well = self.scheduler.alive and not self.stopping
        return _json({"status": "ok" if well else "stopping"}, 200 if well else 503)

    async def _metrics(self, _: Request) -> Response:
        text = self.metrics.text(self.scheduler.load(), self.scheduler.slots)
        return Response(text, headers={"content-type": measured.CONTENT_TYPE})

    async def _about(self, _: Request) -> Response:
        model = self.served.model
        return _json(
            {
                "model": self.served.name,
                "architecture": model.config.model.architecture,
                "step": model.step,
                "tuned": self.served.tuned,
                "context": self.served.longest,
                "most_tokens": self.limits.tokens,
            }
        )

    async def _models(self, _: Request) -> Response:
        return _json({"object": "list", "data": [replies.model_card(self.served)]})

    async def _model(self, request: Request) -> Response:
        self._check_model(request.path_params["name"])
        return _json(replies.model_card(self.served))

    async def _vote(self, request: Request) -> Response:
        vote = read(Vote, await _body(request))
        return _json({"comparisons": await asyncio.to_thread(self.feedback.add, vote)})

    async def _chat(self, request: Request) -> Response:
        asked = read(ChatAsked, await _body(request))
        self._check_model(asked.model)
        conversation = asked.conversation
        ids = await asyncio.to_thread(self.served.chat_prompt, conversation)
        generations = self._generations(asked, [ids], True)
        answers = [
            Answer(number, self.served.growing(conversation[-1].content, True), asked.stop or ())
            for number in range(len(generations))
        ]
        return await self._reply(request, asked, generations, answers, ChatReplies, len(ids))

    async def _complete(self, request: Request) -> Response:
        asked = read(TextAsked, await _body(request))
        self._check_model(asked.model)
        prompts, texts = [], []
        for prompt in asked.prompt:
            if isinstance(prompt, str):
                prompts.append(await asyncio.to_thread(self.served.text_prompt, prompt))
                texts.append(clean(prompt))
            else:
                prompts.append(self.served.given_prompt(prompt))
                texts.append(self.served.text_of(prompt))
        generations = self._generations(asked, prompts, False)
        answers = [
            Answer(number, self.served.growing(text, False), asked.stop or (), text if asked.echo else "")
            for number, text in enumerate(text for text in texts for _ in range(asked.n or 1))
        ]
        count = sum(map(len, prompts))
        return await self._reply(request, asked, generations, answers, TextReplies, count)

    def _check_model(self, name: str) -> None:
        if name != self.served.name:
            raise HTTPException(404, f"the model here is {self.served.name}")

    def _generations(
        self, asked: ChatAsked | TextAsked, prompts: Sequence[tuple[int, ...]], chat: bool
    ) -> list[Generation]:
        """What is to be generated: n answers to each prompt, equal ones with draws of their own."""
        most = self.limits.tokens if asked.most is None else asked.most
        if most > self.limits.tokens:
            raise WrongRequestError(f"max_tokens is {most}; at most {self.limits.tokens}", "max_tokens")
        sampling = asked.sampling(secrets.randbelow(1 << 31))
        found: list[Generation] = []
        for ids in (ids for ids in prompts for _ in range(asked.n or 1)):
            before = sum(one.prompt == ids for one in found)
            stops = self.served.stops(chat)
            found.append(Generation(ids, most, sampling, stops, before, asked.likeliest))
        return found

    async def _reply(
        self,
        request: Request,
        asked: Asked,
        generations: Sequence[Generation],
        answers: Sequence[Answer],
        kind: type[Replies],
        prompt_tokens: int,
    ) -> Response:
        made = kind(self.served, prompt_tokens, asked.with_usage)
        pieces = Pieces(self.scheduler, generations, answers, self.limits.seconds)
        self.metrics.prompt_tokens += prompt_tokens
        if asked.stream:
            return Stream(self._events(pieces, made, asked), pieces, self.metrics)
        try:
            found = await _unless_gone(request, self._all(pieces))
        finally:
            pieces.close()
        return _json(made.whole(found, answers))

    async def _all(self, pieces: Pieces) -> list[Piece]:
        """Each answer as one piece."""
        parts: dict[int, list[Piece]] = {answer.index: [] for answer in pieces.answers}
        async for piece in self._measured(pieces):
            parts[piece.index].append(piece)
        return [
            Piece(
                index,
                "".join(piece.text for piece in found),
                [one for piece in found for one in piece.logs],
                found[-1].finish,
            )
            for index, found in parts.items()
        ]

    async def _events(self, pieces: Pieces, made: Replies, asked: Asked) -> AsyncIterator[bytes]:
        """A stream's server-sent events."""
        for answer in pieces.answers:
            if (first := made.first(answer.index)) is not None:
                yield _event(first)
        try:
            async for piece in self._measured(pieces):
                yield _event(made.chunk(piece))
        except BrokenError as error:
            yield _event(replies.error(str(error), "server_error"))
        else:
            if asked.with_usage:
                yield _event(made.last(pieces.answers))
        yield b"data: [DONE]\n\n"

    async def _measured(self, pieces: Pieces) -> AsyncIterator[Piece]:
        started, first = time.monotonic(), True
        try:
            async for piece in pieces:
                if first:
                    self.metrics.first_token.add(time.monotonic() - started)
                first = False
                yield piece
            self.metrics.whole.add(time.monotonic() - started)
        finally:
            self.metrics.generated_tokens += sum(answer.tokens for answer in pieces.answers)


class Stream(StreamingResponse):
    """Events of answers, which are given up when the client goes away, however that comes to pass."""

    def __init__(self, events: AsyncIterator[bytes], pieces: Pieces, metrics: measured.Metrics) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )
        self._pieces, self._metrics = pieces, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._metrics.given_up += self._pieces.going
            self._pieces.close()


async def _body(request: Request) -> Any:
    """The JSON that a request has. `HTTPException` or `InputError` where it has none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # which no other page can send without asking first
        raise HTTPException(415, "the content type application/json is expected")
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                content += part
                if len(content) > BODY_BYTES:
                    raise HTTPException(413, f"more than {BODY_BYTES:,} bytes, which is the limit")
    except TimeoutError:
        raise HTTPException(408, f"the body has not come within {BODY_SECONDS:.0f} s") from None
    return read_json(bytes(content), "the body", limit=BODY_BYTES)


async def _unless_gone(request: Request, work: Awaitable[list[Piece]]) -> list[Piece]:
    """What comes of some work; `ClientDisconnect` as soon as the client goes away."""
    doing = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((doing, watching), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientDisconnect
        return doing.result()
    finally:
        for task in (doing, watching):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _no_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "there is nothing at this address", 405: "this address has no such method"}
    known = words.get(error.status_code, error.detail)
    return _json(replies.error(known, WRONG), error.status_code, error.headers)


def _json(content: Any, status: int = 200, headers: Any = None) -> Response:
    return JSONResponse(content, status, headers={"cache-control": "no-store", **(headers or {})})


def _event(content: replies.Reply) -> bytes:
    return b"data: " + json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
