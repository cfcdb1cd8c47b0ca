"""Where the processes of one machine meet: a store of torch's that listens on the loopback address alone.

torch's own start of it listens on every address of the machine, whoever may reach them, and a store takes
orders from anybody who connects.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address

import torch.distributed as dist


@contextmanager
def on_loopback() -> Iterator[None]:
    """Within this, the first rank of a world whose `MASTER_ADDR` is a loopback address has the store.

    A world joined within takes it for its own, as torch shares a store among those of a process and port, and
    keeps it. Everywhere else nothing happens.
    """
    host, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    first = os.environ.get("RANK") == "0" and not dist.is_initialized()  # nor has joined one already
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # torchrun has the store, and the port
    if not first or agent or not _is_loopback(host) or not port.isdigit():
        yield
        return
    store = _listen(int(port))
    yield
    del store


def _listen(port: int) -> dist.TCPStore | None:
    """The store, or None where the port is taken.

    A process that joins a world again has kept the store of the one before, which torch then shares; where it
    is somebody else's, torch says so.
    """
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return dist.TCPStore(
        "127.0.0.1",
        port,
        is_master=True,
        wait_for_workers=False,
        multi_tenant=True,
        master_listen_fd=listening.detach(),
    )


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
