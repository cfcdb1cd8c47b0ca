"""`ray job submit` on a cluster of its own: what a user types, and what the dashboard shows of it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_prep.contract.dataset import Dataset
from tests.data_prep.helpers import prep_config, prepare_here, story, write_jsonl

pytest.importorskip("aiohttp_cors", reason="jobs need ray[default]")

RAY = str(Path(sys.executable).with_name("ray"))
STEPS = ("collect", "tag", "judge", "exact", "edges", "components", "decide", "sample", "tokenizer", "encode")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture
def dashboard() -> Iterator[str]:
    """The address of a head node's dashboard; the node is ended by its process group."""
    folder = tempfile.mkdtemp(prefix="ray-")  # short: the names of sockets have a limit
    port, agent, page = free_ports(3)
    command = [RAY, "start", "--head", "--block", f"--port={port}", f"--temp-dir={folder}", "--num-cpus=2"]
    command += [f"--dashboard-port={page}", f"--dashboard-agent-listen-port={agent}"]
    command += ["--node-ip-address=127.0.0.1", f"--object-store-memory={100 << 20}"]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        yield f"http://127.0.0.1:{page}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def submit(address: str, *command: str) -> str:
    """Submit a job as soon as the dashboard answers; what it printed until its end."""
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    line = [RAY, "job", "submit", "--address", address, "--", *command]
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{address}/api/jobs/", timeout=60).close()
            break
        except OSError:
            time.sleep(0.5)
    ended = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_a_submitted_job_makes_the_same_dataset_and_names_its_steps(dashboard: str, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [story(number, 300) for number in range(60)])
    config = prep_config([tmp_path / "a.jsonl"])
    recipe = config.model_dump(mode="json", exclude_defaults=True) | {"tracking": {"enabled": False}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    bloomery = [sys.executable, "-c", "from launch.cli import main; main()"]
    printed = submit(
        dashboard,
        *bloomery,
        "prep",
        str(tmp_path / "recipe.yaml"),
        "--work",
        str(tmp_path / "work"),
        "--json",
    )
    prepare_here(config, tmp_path / "alone")
    made, alone = (Dataset(folder).manifest for folder in (tmp_path / "work" / "dataset", tmp_path / "alone"))
    assert made.fingerprint == alone.fingerprint
    assert '"stage": "dataset"' in printed
    with urllib.request.urlopen(f"{dashboard}/api/v0/tasks?limit=1000", timeout=600) as answer:
        tasks: list[dict[str, Any]] = json.load(answer)["data"]["result"]["result"]
    names = {task["name"] for task in tasks}
    assert {f"Map({step})" for step in STEPS} <= names
