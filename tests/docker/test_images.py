"""The container files fit the repository and keep the rules that hadolint checks (DL numbers are its)."""

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
KNOWN = {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}


def instructions(path: Path) -> list[tuple[str, str]]:
    """Instructions and their arguments, continued lines joined, comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name, arguments) for name, arguments in pairs]


def arguments(path: Path, name: str) -> list[str]:
    return [given for instruction, given in instructions(path) if instruction == name]


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.stem)
def dockerfile(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_instructions_are_known(dockerfile: Path) -> None:
    assert {name for name, _ in instructions(dockerfile)} <= KNOWN
    assert instructions(dockerfile)[0][0] == "FROM"


def test_the_base_is_tagged(dockerfile: Path) -> None:
    """DL3006, DL3007."""
    [base] = arguments(dockerfile, "FROM")
    assert re.fullmatch(r"[a-z/]+:[\w.-]+", base)
    assert not base.endswith(":latest")


def test_what_is_copied_is_there_and_not_ignored(dockerfile: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for copied in arguments(dockerfile, "COPY"):
        *sources, target = copied.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored, f"{source} is not let through by .dockerignore"
        assert len(sources) == 1 or target.endswith("/"), "DL3021"


def test_commands_keep_the_rules(dockerfile: Path) -> None:
    for command in arguments(dockerfile, "RUN"):
        words = shlex.split(command)
        assert not {"sudo", "cd", "apt", "ssh", "vim", "ps", "kill"} & {words[0], *_after_and(words)}, command
        assert "|" not in words, "DL4006: a pipe hides the status of all but its last command"
        if "install" in words and "apt-get" in words:
            assert {"update", "--yes", "--no-install-recommends"} <= set(words), "DL3009, DL3014, DL3015"
            assert command.rstrip().endswith("rm -rf /var/lib/apt/lists/*"), "DL3009"
        if words[:2] == ["pip", "install"]:
            assert "--no-cache-dir" in words, "DL3042"
            assert "--constraint" in words, "DL3013: versions are pinned by the constraints"


def _after_and(words: list[str]) -> set[str]:
    return {following for word, following in pairwise(words) if word == "&&"}


def test_folders_are_absolute(dockerfile: Path) -> None:
    """DL3000."""
    assert all(folder.startswith("/") for folder in arguments(dockerfile, "WORKDIR"))


def test_it_runs_as_a_user_in_exec_form(dockerfile: Path) -> None:
    """DL3002, DL3025."""
    user = arguments(dockerfile, "USER")[-1]
    commands = [command.split("&&")[0].split() for command in arguments(dockerfile, "RUN")]
    assert [words[-1] for words in commands if words[0] == "useradd"] == [user]
    [entry], [default] = arguments(dockerfile, "ENTRYPOINT"), arguments(dockerfile, "CMD")
    assert json.loads(entry)
    assert isinstance(json.loads(default), list)


def test_images_that_share_a_folder_write_as_the_same_user() -> None:
    numbers = {
        match.group(1)
        for name in ("prep", "train")
        for run in arguments(ROOT / "docker" / f"{name}.Dockerfile", "RUN")
        if (match := re.search(r"--uid (\d+)", run))
    }
    assert len(numbers) == 1
