"""The store that the processes of a machine meet at: nobody else reaches it."""

import os
import socket
from datetime import timedelta

import psutil
import pytest
import torch.distributed as dist

from pipeline.distributed.meeting import on_loopback


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> set[str]:
    """The addresses on which this process listens at a port."""
    found = psutil.Process().net_connections("tcp")
    return {one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN and one.laddr.port == port}


@pytest.mark.parametrize(("host", "rank"), [("127.0.0.1", "0"), ("localhost", "0"), ("127.0.0.1", "1")])
def test_it_listens_on_loopback_alone(host: str, rank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    for name, value in (("MASTER_ADDR", host), ("MASTER_PORT", str(port)), ("RANK", rank)):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dist, "is_initialized", lambda: False)  # whatever another test has left
    with on_loopback():
        assert listening(port) == ({"127.0.0.1"} if rank == "0" else set())
        if rank == "1":
            return
        store = dist.TCPStore(
            "127.0.0.1", port, 1, is_master=True, multi_tenant=True, timeout=timedelta(seconds=60)
        )
    store.set("key", "value")
    assert store.get("key") == b"value"
    assert listening(port) == {"127.0.0.1"}


@pytest.mark.parametrize("whose", ["agent", "its own of before"])
def test_a_store_that_is_there_is_left_alone(whose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun has one for its ranks; who joins a second world shares that of the first."""
    monkeypatch.setattr(dist, "is_initialized", lambda: False)
    port = free_port()
    for name, value in (("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", str(port)), ("RANK", "0")):
        monkeypatch.setenv(name, value)
    if whose == "agent":
        monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
        with on_loopback():
            assert listening(port) == set()
        return
    with socket.create_server(("127.0.0.1", port)), on_loopback():
        assert listening(port) == {"127.0.0.1"}


def test_a_process_that_has_joined_joins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of several models follow one another in the same world."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for name, value in (
            ("MASTER_ADDR", "127.0.0.1"),
            ("MASTER_PORT", taken.getsockname()[1]),
            ("RANK", 0),
        ):
            monkeypatch.setenv(name, str(value))
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        with on_loopback():
            pass


@pytest.mark.parametrize("host", ["10.0.0.1", "example.test", ""])
def test_what_spans_hosts_is_left_to_torch(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("MASTER_ADDR", host)
    monkeypatch.setenv("MASTER_PORT", str(port))
    monkeypatch.setenv("RANK", "0")
    with on_loopback():
        assert listening(port) == set()
    assert os.environ["MASTER_ADDR"] == host
