"""Programs that a model wrote: what passes and fails, and what each limit ends, without namespaces too."""

import socket
from contextlib import suppress
from pathlib import Path

import pytest

from data_prep.contract.settings import InputError
from pipeline.preferences.rules import Told, unit_tests
from pipeline.preferences.sandbox import run as module
from pipeline.preferences.sandbox.run import Limits, run, run_all
from pipeline.prompting.chat import Message

SHORT = Limits(wall_seconds=2)
FORKS = "import os\nfor _ in range(6): os.fork()\nwhile True: pass"
LEFT = "import subprocess\nsubprocess.Popen(['sleep', '987654'], start_new_session=True)\n"


@pytest.fixture(params=["namespaces", "limits alone"])
def isolation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The sandbox as it is here, and as it is where the kernel makes no namespaces."""
    if request.param == "limits alone":
        text = module.INSIDE.read_text(encoding="utf-8")
        without = text.replace("libc.unshare(", "libc.unshare(-1 | ")
        assert without != text
        (tmp_path / "inside.py").write_text(without, encoding="utf-8")
        monkeypatch.setattr(module, "INSIDE", tmp_path / "inside.py")
    return str(request.param)


def running(words: str) -> list[str]:
    """The processes with these words in their command line."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found += [line] if words in line else []
    return found


@pytest.mark.usefixtures("isolation")
def test_code_is_right_where_its_tests_pass() -> None:
    good, bad = "def add(a, b):\n    return a + b", "def add(a, b):\n    return a - b"
    tests = "assert add(1, 2) == 3\nassert add(2, 2) == 4"
    outcomes = run_all([(good, tests), (bad, tests), ("def add(", tests), ("import math, json, re", "")])
    assert [one.passed for one in outcomes] == [True, False, False, True]
    assert outcomes[1].reason == "failed"


def test_leaving_before_the_tests_is_not_passing() -> None:
    tests = "raise SystemExit(1)"
    answers = ["import sys; sys.exit(0)", "import os; os._exit(0)", "raise SystemExit"]
    assert not any(one.passed for one in run_all([(answer, tests) for answer in answers]))


@pytest.mark.usefixtures("isolation")
@pytest.mark.parametrize(
    "answer",
    [
        "x = 'a' * (1 << 30)",
        "open('large', 'w').write('x' * (2 << 20))",
        "[open('f' + str(n), 'w') for n in range(64)]",
    ],
)
def test_memory_and_files_have_limits(answer: str) -> None:
    assert not run(answer, "").passed


@pytest.mark.parametrize("answer", ["while True: pass", FORKS, LEFT + "while True: pass"])
def test_all_that_runs_ends_with_its_time(answer: str) -> None:
    outcome = run(answer, "", SHORT)
    assert not outcome.passed
    assert outcome.reason in ("out of time", "beyond a limit")
    assert not running("987654")


@pytest.mark.usefixtures("isolation")
def test_nothing_is_left_behind_a_program_that_ended() -> None:
    run(LEFT, "")
    assert not running("987654")
    assert not running(str(module.INSIDE))


def test_there_is_no_network_and_nothing_is_written_elsewhere(tmp_path: Path) -> None:
    """Where the kernel makes namespaces; the program's own folder can be written to."""
    own = "open('own', 'w').write('x')"
    if not run("import os\nassert os.getpid() == 2", "").passed:
        pytest.skip("the kernel makes no namespaces for this user")
    assert run(own, "assert open('own').read() == 'x'").passed
    assert not run(f"open({str(tmp_path / 'other')!r}, 'w')", "").passed
    assert not list(tmp_path.iterdir())
    reach = "import socket\nsocket.create_connection(('127.0.0.1', {}), 5)"
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not run(reach.format(server.getsockname()[1]), "").passed
    assert run("import os\nassert set(os.environ) <= {'PATH', 'LC_CTYPE'}", "").passed


def test_a_reward_is_what_tests_say_of_the_last_block_of_code() -> None:
    row = {"tests": ["assert f(1) == 2", "assert f(2) == 3"], "setup": "ONE = 1"}
    texts = [
        "```python\nno\n```\nBetter:\n```python\ndef f(x):\n    return x + ONE\n```",
        "def f(x): return x",
    ]
    told = [Told((Message("user", "?"),), text, True, row) for text in texts]
    assert unit_tests(told) == [1.0, 0.0]


@pytest.mark.parametrize("tests", [None, [], [1], 3])
def test_a_row_without_tests_is_one_sentence(tests: object) -> None:
    with pytest.raises(InputError, match=r"unit_tests: a prompt's row needs tests"):
        unit_tests([Told((Message("user", "?"),), "x", True, {"tests": tests})])
