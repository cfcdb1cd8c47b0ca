"""What is handed to other hosts is not read by the shells on the way."""

import json
import os
import subprocess
from pathlib import Path

import pytest

import launch.hosts
from data_prep.contract.settings import InputError
from launch.hosts import HostsLauncher, read_hostfile
from launch.remote import check_places, is_host, pack, unpack
from launch.settings import SuperviseConfig
from pipeline.config import OptimizerConfig, ParallelConfig

ROOT = Path(__file__).parents[2]
HOSTILE = ["a;touch${IFS}HERE;#", "$(touch HERE)", "`touch HERE`", "a b'c\"d", "(x)&*|<>?!~%n%h", "\n", "é\\"]
STANDS_IN = """#!/usr/bin/env bash
# Stands in for {name}: drops options and the host, and hands the rest to a shell as sshd does.
while [[ $1 == -* ]]; do case $1 in -o | -l | -p | -f | -w) shift 2 ;; *) shift ;; esac; done
{shift}
line="$*"
exec bash -c "${line//%n/0}"
"""
PROBE = """
import json, os, sys
from launch.remote import unpack
arguments = unpack(sys.argv[1:])
open(os.environ["SEEN"], "w").write(json.dumps([arguments, os.environ["MLFLOW_TRACKING_URI"]]))
"""


@pytest.mark.parametrize(
    "name",
    [
        "-oProxyCommand=touch${IFS}x",
        "--",
        "^/etc/passwd",
        "a,b",
        "a;b",
        "exec:a",
        "node[1-3]",
        "/a/",
        "a@-b",
        "",
    ],
)
def test_what_is_no_host_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(f"node1 slots=1\n{name} slots=1\n")
    assert not is_host(name)
    with pytest.raises(InputError, match="expected"):
        read_hostfile(path)


@pytest.mark.parametrize("name", ["node1", "10.0.0.7", "gpu-3.rack_2.example.org", "joe@node1"])
def test_names_of_hosts(name: str) -> None:
    assert is_host(name)


def test_a_script_for_ssh_refuses_options_as_hosts(tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts"
    hostfile.write_text(f"-oProxyCommand=touch${{IFS}}{tmp_path}/HERE slots=1\n")
    (tmp_path / "deepspeed").touch(mode=0o755)
    done = subprocess.run(
        [ROOT / "launch/cluster/ssh.sh", hostfile, "recipe.yaml"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "is not the name of a host" in done.stderr) == (2, True)
    assert not (tmp_path / "HERE").exists()


@pytest.mark.parametrize("value", HOSTILE)
def test_packed_arguments_are_one_word_and_come_back(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, environment = pack(["recipe.yaml", "--set", value], {"MLFLOW_TRACKING_URI": value, "HOME": value})
    assert all(word.replace("-", "").replace("_", "").replace("=", "").isalnum() for word in packed)
    assert environment == {"HOME": value}, "a variable that DeepSpeed would set by a shell travels packed"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "set, so that what is unpacked does not outlive this test")
    del os.environ["MLFLOW_TRACKING_URI"]
    assert unpack(["a", *packed, "b"]) == ["a", "recipe.yaml", "--set", value, "b"]
    assert os.environ["MLFLOW_TRACKING_URI"] == value


def test_places_that_a_shell_would_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="PYTHONPATH"):
        pack([], {"PYTHONPATH": "/a;b"})
    with pytest.raises(InputError, match="shells on other hosts"):
        check_places("/opt/my models/train.py")
    (tmp_path / "a $(b)").mkdir()
    monkeypatch.chdir(tmp_path / "a $(b)")
    with pytest.raises(InputError, match="shells on other hosts"):
        check_places()


def test_every_host_gets_the_very_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepSpeed's own launcher, with stand-ins for pdsh and ssh that read their lines as the real ones do."""
    for name, shift in (("ssh", "shift"), ("pdsh", "")):
        (tmp_path / name).write_text(STANDS_IN.replace("{name}", name).replace("{shift}", shift))
        (tmp_path / name).chmod(0o755)
    (tmp_path / "probe.py").write_text(PROBE)
    (tmp_path / "hosts").write_text("localhost slots=1\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///a b;touch${IFS}HERE")
    monkeypatch.setattr(launch.hosts, "SCRIPT", tmp_path / "probe.py")
    monkeypatch.chdir(tmp_path)
    sets = [word for value in HOSTILE for word in ("--set", f"tracking.experiment={value}")]
    arguments = ["recipe.yaml", "--work", "wo rk;touch HERE", *sets]
    launcher = HostsLauncher(
        arguments, tmp_path / "hosts", tmp_path, ParallelConfig(), OptimizerConfig(), SuperviseConfig(), print
    )
    command, environment = launcher.command("0-0", ["--stage", "pretrain"])
    done = subprocess.run(
        [*command[:5], "--master_addr=127.0.0.1", *command[5:]],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (tmp_path / "seen").exists(), done.stdout + done.stderr
    found, address = json.loads((tmp_path / "seen").read_text())
    assert found[1:] == [*arguments, "--stage", "pretrain", "--set", "parallel.data=1"]
    assert found[0].startswith("--local_rank=")
    assert address == "sqlite:///a b;touch${IFS}HERE"
    assert not list(tmp_path.rglob("HERE*"))
