"""`bloomery serve`: from an address and a run to a server, and to its end.

The address is taken before the model is loaded, so that one that is in use is said at once. Behind Ctrl-C or
SIGTERM no more requests are taken, the answers that are under way may go on for a while, and the rest of them
is ended in an orderly way; the second signal ends at once.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import uvicorn

from data_prep.contract.names import one_line
from data_prep.contract.reading import read_bytes
from data_prep.contract.settings import InputError
from launch.dashboard import show
from launch.serving.api import Api
from launch.serving.feedback import Feedback
from launch.serving.guard import Guard, is_loopback
from launch.serving.heads import HeadsInTime
from launch.serving.limits import Limits
from launch.serving.served import open_served
from pipeline.generation.load import find_checkpoint
from pipeline.generation.scheduler import Scheduler

KEY_VARIABLE = "BLOOMERY_SERVE_KEY"
SHORTEST_KEY, LONGEST_KEY = 16, 1000
HEAD_BYTES = 64 << 10
"""Longest head of a request."""
IDLE_SECONDS = 75
"""A connection on which nothing is asked for so long is closed."""
LAST_SECONDS = 5
"""What is left to send when answers have ended takes no longer."""


@dataclass(frozen=True)
class Settings:
    """What the command line says."""

    host: str = "127.0.0.1"
    port: int = 8000
    key_file: Path | None = None
    name: str | None = None
    feedback: Path | None = None
    average: bool = False
    browser: bool = True
    grace: float = 10.0
    """Seconds that answers under way have when the server is told to end."""
    limits: Limits = field(default_factory=Limits)


def serve(
    path: Path, settings: Settings, ready: Callable[[str], None], notify: Callable[[str], None]
) -> None:
    """Serve the model of a run or checkpoint until a signal; `ready` is told the address."""
    key = find_key(settings)
    find_checkpoint(path)
    with ExitStack() as stack:
        taken = stack.enter_context(listening(settings.host, settings.port))
        address = _address(settings.host, taken)
        notify(f"loading {path}")
        served = open_served(path, settings.name, settings.average)
        feedback = settings.feedback or _work_folder(path) / "feedback"
        scheduler = Scheduler(served.model, settings.limits.slots, settings.limits.queue)
        stack.callback(scheduler.close, 0.0)
        api = Api(served, scheduler, Feedback(feedback), settings.limits)
        server = Server(api, Guard(api.app(), key), settings.grace)
        if not served.tuned:
            notify(f"{served.name} was not tuned on conversations: it goes on with texts")
        ready(address)
        notify(f"serving {served.name} until Ctrl-C; OpenAI's API is at {address}/v1")
        show(address, settings.browser)
        asyncio.run(server.serve(sockets=[taken]))
        notify("stopped")


class Server(uvicorn.Server):
    """Uvicorn, which ends as it is said above."""

    def __init__(self, api: Api, app: Guard, grace: float) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=HeadsInTime,
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=int(grace) + LAST_SECONDS,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        super().__init__(config)
        self._api, self._grace = api, grace

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no more requests; the second time, end at once."""
        if self.should_exit:
            self.force_exit = True
            self._api.scheduler.drain(0.0)
            return
        self.should_exit = self._api.stopping = True
        self._api.scheduler.drain(self._grace)


def find_key(settings: Settings) -> str | None:
    """The key that clients must send. `InputError` where others than this machine may ask without one."""
    if settings.key_file is not None:
        where, given = str(settings.key_file), read_bytes(settings.key_file, limit=LONGEST_KEY + 1)
        key = given.decode("ascii", "replace").strip()
    else:
        where, key = KEY_VARIABLE, os.environ.get(KEY_VARIABLE, "").strip()
    if not key and settings.key_file is None:
        if is_loopback(settings.host):
            return None
        raise InputError(
            f"--host {settings.host} lets other machines in, so clients need a key: put one into a file and "
            f"give --key-file FILE, or set {KEY_VARIABLE}"
        )
    if (
        not key.isascii()
        or not key.isprintable()
        or " " in key
        or not SHORTEST_KEY <= len(key) <= LONGEST_KEY
    ):
        raise InputError(
            f"{where}: a key of {SHORTEST_KEY} to {LONGEST_KEY} letters, digits and marks is expected"
        )
    return key


def listening(host: str, port: int) -> socket.socket:
    """A socket that clients can connect to from now on. `InputError` where there cannot be one."""
    try:
        [family, kind, protocol, _, place] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {one_line(host)}: no address of this machine ({error})") from None
    taken = socket.socket(family, kind, protocol)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(place)
        taken.listen(1024)
    except OSError as error:
        taken.close()
        raise InputError(
            f"port {port} on {one_line(host)} cannot be had ({error.strerror}); --port 0 takes a free one"
        ) from None
    return taken


def _address(host: str, taken: socket.socket) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{taken.getsockname()[1]}"


def _work_folder(path: Path) -> Path:
    """Where votes are kept: beside the run, for a run that is made anew is emptied first."""
    _, run = find_checkpoint(path)
    return run.resolve().parent
