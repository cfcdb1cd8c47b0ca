"""The command as a user meets it: a real process of every command, its status, its words."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app

QUICKSTART = str(Path(__file__).parents[2] / "launch" / "recipes" / "quickstart.yaml")


def bloomery(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from launch.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tempfile.gettempdir(),
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from launch import cli; from typer.testing import CliRunner;"
        "assert CliRunner().invoke(cli.app, ['--help']).exit_code == 0;"
        "heavy = {'torch', 'ray', 'mlflow', 'deepspeed', 'megatron', 'pyarrow', 'numpy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


COMMANDS = ["run", "prep", "train", "tune", "eval", "generate"]
COMMANDS += ["export", "import", "inspect", "sync", "doctor", "dashboard", "scale", "stages"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str) -> None:
    done = bloomery(command, "--help")
    assert done.returncode == 0
    assert "Example:" in done.stdout
    assert "--json" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "none.yaml"], "none.yaml: no such file"),
        (["prep", QUICKSTART, "--set", "corpus.kind=text"], "paths is empty"),
        (["train", QUICKSTART, "--work", "{work}"], "not a dataset"),
        (["tune", QUICKSTART, "--work", "{work}"], "not a dataset"),
        (["eval", QUICKSTART, "--work", "{work}"], "not a dataset"),
        (["generate", "{work}", "--prompt", "x"], "not a checkpoint"),
        (["export", "{work}", "{work}/out"], "not a checkpoint"),
        (["import", "{work}", "{work}/out"], "config.json: no such file; a Hugging Face folder has one"),
        (["inspect", "{work}"], "neither a dataset, a checkpoint, a run, an evaluation nor a work folder"),
        (["sync", "{work}"], "no run was tracked here"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = bloomery(*(argument.format(work=tmp_path) for argument in arguments))
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", QUICKSTART, "--set", "train.stepz=1"], "did you mean train.steps?"),
        (["generate", "{work}", "--fill", "a <mask>"], "not a checkpoint"),
        (["generate", "{work}"], "give --prompt TEXT to go on with, or --fill TEXT"),
        (["generate", "{work}", "--prompt", "x", "--fill", "<mask>"], "give --prompt TEXT to go on with, or"),
    ],
)
def test_more_bad_input(tmp_path: Path, arguments: list[str], said: str) -> None:
    """In this process: what each command imports is said to be quiet by the test before."""
    done = CliRunner().invoke(app, [argument.format(work=tmp_path) for argument in arguments])
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
