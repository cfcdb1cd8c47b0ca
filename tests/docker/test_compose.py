"""The compose file holds together, and its commands are ones that the programs take."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from launch.cli import app

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker" / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VARIABLES = dict.fromkeys(("POSTGRES_PASSWORD", "RAY_AUTH_TOKEN", "RECIPE", "WORK"), "x")


def command(service: str) -> list[str]:
    """A service's command with the variables put in."""
    return [
        re.sub(r"\$\{(\w+)[^}]*}", lambda m: VARIABLES[m.group(1)], word)
        for word in SERVICES[service]["command"]
    ]


def test_services_refer_to_what_is_there() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    for name, service in SERVICES.items():
        image, tag = service["image"].split(":")
        if "build" in service:
            assert service["build"]["dockerfile"] == f"docker/{image.removeprefix('bloomery-')}.Dockerfile"
            assert (ROOT / service["build"]["dockerfile"]).is_file()
            assert tag == version.group(1)
        assert set(service.get("depends_on", [])) <= set(SERVICES) - {name}
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith(".") or source in COMPOSE["volumes"]
        if isinstance(service.get("depends_on"), dict):
            for waited, how in service["depends_on"].items():
                assert how["condition"] == "service_healthy"
                assert "healthcheck" in SERVICES[waited]


def test_only_this_machine_reaches_the_ports() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_addresses_name_services_and_the_ports_they_listen_on() -> None:
    listening = {"mlflow": "5000", "ray-head": "6379"}
    assert f"--port={listening['mlflow']}" in command("mlflow")
    assert f"--port={listening['ray-head']}" in command("ray-head")
    assert f"--address=ray-head:{listening['ray-head']}" in command("ray-worker")
    assert "--address=http://ray-head:8265" in command("prep"), "the port of Ray's dashboard"
    assert any(port.endswith(":8265") for port in SERVICES["ray-head"]["ports"])
    for name in ("prep", "train", "ray-head", "ray-worker"):
        assert SERVICES[name]["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert "mlflow:5000" in next(word for word in command("mlflow") if "allowed-hosts" in word)


def test_secrets_come_from_outside() -> None:
    for name in ("POSTGRES_PASSWORD", "RAY_AUTH_TOKEN"):
        assert f"${{{name}:?" in FILE.read_text()


@pytest.mark.parametrize("service", ["ray-head", "ray-worker", "prep"])
def test_ray_takes_its_commands(service: str) -> None:
    from ray.scripts.scripts import cli

    assert SERVICES[service]["entrypoint"] == ["ray"]
    parsed: Any = cli
    words = command(service)
    while hasattr(parsed, "commands"):
        name, *words = words
        parsed = parsed.commands[name]
    parsed.make_context("ray", words)


def test_mlflow_takes_its_command() -> None:
    from mlflow.cli import cli

    name, *words = command("mlflow")
    cli.commands[name].make_context("mlflow", words)


@pytest.mark.parametrize("service", ["prep", "train"])
def test_bloomery_takes_its_commands(service: str) -> None:
    words = command(service)
    name, *words = words[words.index("bloomery") + 1 :] if "bloomery" in words else words
    group: Any = typer.main.get_command(app)
    context = group.commands[name].make_context(name, words)
    assert str(context.params["recipe"]) == VARIABLES["RECIPE"]
    assert str(context.params["work"]) == VARIABLES["WORK"]


def test_docker_reads_it() -> None:
    if shutil.which("docker") is None:
        pytest.skip("there is no docker here")
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("this docker has no compose")
    command = ["docker", "compose", "-f", str(FILE), "config", "--quiet"]
    subprocess.run(command, env=os.environ | VARIABLES, check=True)
