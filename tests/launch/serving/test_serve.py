"""`bloomery serve` as a person starts it: a whole process, signals, and a port that is taken."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from tests.launch.serving.made import client
from tests.pipeline.conversion.folders import run_folder

PROJECT = Path(__file__).parents[3]
WAIT = 300.0
ENDLESS = "from launch.serving.served import Served; Served.stops = lambda *_: frozenset(); "
"""No id ends an answer, so that one goes on for as long as it is let."""
COMMAND = [sys.executable, "-c", f"{ENDLESS}from launch.cli import main; main()", "serve"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("work") / "run", "gpt2")


@contextmanager
def started(run: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The command, and the address that it says."""
    limits = ("--tokens", "100000000", "--seconds", "6000")
    one = subprocess.Popen(
        [*COMMAND, str(run), "--port", "0", "--no-open", "--json", *limits, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    try:
        assert one.stdout is not None
        yield one, json.loads(one.stdout.readline())["page"]
    finally:
        one.kill()
        one.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_answers_end_and_takes_no_more(run: Path, sent: signal.Signals) -> None:
    with started(run, "--grace", "2", "--name", "work/run") as (process, address):
        stream = client(address).completions.create(
            model="work/run", prompt="a", max_tokens=100_000_000, stream=True
        )
        next(iter(stream))
        said: list[str] = []

        def listen() -> None:
            try:
                said.extend(chunk.choices[0].finish_reason or "" for chunk in stream)
            except openai.APIError as error:
                said.append(str(error))

        listener = threading.Thread(target=listen)
        listener.start()
        process.send_signal(sent)
        listener.join(WAIT)
        assert said[-1] == "the server is stopping"
        assert process.wait(WAIT) == 0
        assert process.stderr is not None
        told = process.stderr.read()
    assert "Traceback" not in told
    assert told.endswith("stopped\n")


@pytest.mark.slow
def test_a_port_that_is_taken_is_said_before_the_model_is_loaded(run: Path) -> None:
    with started(run) as (_, address):
        port = address.rpartition(":")[2]
        second = subprocess.run(
            [sys.executable, "-c", COMMAND[2].removeprefix(ENDLESS), "serve", str(run), "--port", port],
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert f"port {port} on 127.0.0.1 cannot be had" in second.stderr
