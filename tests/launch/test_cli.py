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


COMMANDS = ["run", "prep", "train", "tune", "eval", "finetune", "predict", "generate"]
COMMANDS += ["export", "import", "inspect", "sync", "doctor", "dashboard", "scale", "plan", "stages"]


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
        (["tune", QUICKSTART, "--work", "{work}"], "has not ended; run it first"),
        (["eval", QUICKSTART, "--work", "{work}"], "not a dataset"),
        (["generate", "{work}", "--prompt", "x"], "not a checkpoint"),
        (["export", "{work}", "{work}/out"], "not a checkpoint"),
        (["import", "{work}", "{work}/out"], "config.json: no such file; a Hugging Face folder has one"),
        (["inspect", "{work}"], "neither a dataset, a checkpoint, a run, an evaluation nor a work folder"),
        (["sync", "{work}"], "no run was tracked here"),
        (["inspect", "{work}/a\nb\x1b[31m"], "a\\nb\\x1b[31m"),
        (["stages", QUICKSTART, "--work", "{loop}"], "Too many levels of symbolic links"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    loop = tmp_path / "loop"
    if "{loop}" in arguments:
        loop.symlink_to(loop)
    done = bloomery(*(argument.format(work=tmp_path, loop=loop) for argument in arguments))
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


@pytest.mark.parametrize("module", ["launch.cli", "launch.runner"])
def test_ctrl_c_while_it_loads_is_no_traceback(module: str, tmp_path: Path) -> None:
    """The command line, and what a command needs."""
    code = (
        "import os, signal, sys; from launch.start import main\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        f"        name == {module!r} and os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupted()); main()"
    )
    command = [sys.executable, "-c", code, "sync", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "stopped; the same command goes on\n")


def test_too_few_files_are_one_sentence_before_anything_starts() -> None:
    code = (
        "import resource, pytest; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "from data_prep.contract.settings import InputError; from launch.runner import make_room_for_files\n"
        "with pytest.raises(InputError, match='ulimit -n: 64 files'): make_room_for_files()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_runs_no_model_loads_no_torch() -> None:
    program = "import sys, launch.cli, launch.runner; print({'torch', 'ray', 'mlflow'} & sys.modules.keys())"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
