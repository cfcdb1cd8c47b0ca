"""The container files fit the repository: what they copy is there, what they run exists, ports stay local."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from launch.cli import app

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_dockerfile(path: Path) -> None:
    text = re.sub(r"\\\n", " ", path.read_text())
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    for words in lines:
        if words[0] == "COPY":
            assert all((ROOT / source).exists() for source in words[1:-1]), words
        if words[0] == "FROM":
            assert ":" in words[1], "the base image has no tag"
            assert not words[1].endswith(":latest")
    users = [words[1] for words in lines if words[0] == "USER"]
    assert users, "the container would run as root"
    assert users[-1] != "root"


def test_compose_builds_what_is_there() -> None:
    for service in COMPOSE["services"].values():
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), port
        for needed in service.get("depends_on", []):
            assert needed in COMPOSE["services"]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith(".") or source in COMPOSE["volumes"]


def test_the_training_service_runs_a_command_that_exists() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert COMPOSE["services"]["train"]["command"][0] in names
