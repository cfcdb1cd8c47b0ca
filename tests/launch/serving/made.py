"""Servers of small models with random weights, in a thread of the test's process."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai

from launch.serving.api import Api
from launch.serving.feedback import Feedback
from launch.serving.guard import Guard
from launch.serving.limits import Limits
from launch.serving.served import Served, open_served
from launch.serving.server import Server, listening
from pipeline.generation.sampling import Sampling, generate
from pipeline.generation.scheduler import Scheduler
from pipeline.prompting.text import prompt_ids, readable, stop_ids
from tests.pipeline.conversion.folders import run_folder

NAME = "made/run"
LIMITS = Limits(tokens=64)


def double(folder: Path, family: str) -> Served:
    """A served model in float64, where what a sum owes to the number of rows beside it changes no draw."""
    served = open_served(run_folder(folder, family), NAME, False)
    served.model.module.double()
    return served


def said(served: Served, text: str, tokens: int, sampling: Sampling, chat: bool, before: int = 0) -> str:
    """What `bloomery generate` says to a text alone, behind so many equal ones; without the text itself."""
    model = served.model
    prompts = [prompt_ids(model, text, chat)] * (before + 1)
    answer = generate(model, prompts, tokens, sampling, stop_ids(model.vocabulary, chat))[-1]
    return readable(model, text, chat, answer).removeprefix(readable(model, text, chat, []))


@contextmanager
def serving(
    served: Served, feedback: Path, limits: Limits = LIMITS, key: str | None = None
) -> Iterator[tuple[str, Api]]:
    """A server's address and its parts."""
    scheduler = Scheduler(served.model, limits.slots, limits.queue)
    api = Api(served, scheduler, Feedback(feedback), limits)
    server = Server(api, Guard(api.app(), key), 0.0)
    taken: socket.socket = listening("127.0.0.1", 0)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[taken])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{taken.getsockname()[1]}", api
    finally:
        server.handle_exit(0, None)
        thread.join()
        scheduler.close(0.0)
        taken.close()


def client(address: str, key: str = "none") -> openai.OpenAI:
    """OpenAI's own client."""
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, timeout=120)
