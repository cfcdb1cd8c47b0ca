"""The page in a real browser: asking, asking again, editing, voting, stopping, settings, keys, hostile texts.

Pictures of it, light, dark and narrow, lie in the test's folder (`pytest --basetemp DIR`).
"""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch.serving.api import Api
from launch.serving.limits import Limits
from launch.serving.served import Served
from tests.launch.serving.browser import CHROMIUM, Browser
from tests.launch.serving.made import double, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
HOSTILE = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'
CODE = f"def add(a, b):  # {HOSTILE}\n    return a + b"
SAID = f"A sum:\n\n```python\n{CODE}\n```\n\nSo `{HOSTILE}`, and {HOSTILE}"
IDLE = "!document.querySelector('.busy')"
KEY = "a-key-of-many-letters"


class Scripted:
    """In place of the text of an answer: the parts of what is to be said, one for each id."""

    said = SAID

    def __init__(self) -> None:
        self.told = 0

    def add(self, token: int) -> str:
        self.told += 5
        return self.said[self.told - 5 : self.told]

    def rest(self) -> str:
        first, self.told = self.told, len(self.said)
        return self.said[first:]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = replace(double(tmp_path_factory.mktemp("run") / "run", "gpt2"), tuned=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Served, "growing", lambda *_: Scripted())
        patch.setattr(Served, "stops", lambda *_: frozenset())
        yield made


@pytest.fixture
def server(served: Served, tmp_path: Path) -> Iterator[tuple[str, Api]]:
    with serving(served, tmp_path / "feedback", Limits(tokens=400)) as one:
        yield one


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    one = Browser(tmp_path / "profile")
    yield one
    one.close()


def ask(browser: Browser, text: str) -> None:
    browser.value("document.getElementById('text').focus()")
    browser.type(text)
    browser.press("Enter")


def texts(browser: Browser, selector: str) -> list[str]:
    found = browser.value(f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)")
    assert isinstance(found, list)
    return found


def test_a_conversation_from_the_first_message_to_a_comparison(
    server: tuple[str, Api], browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Served, "chat_prompt", lambda *_: (5, 6, 7))  # the model reads but a few tokens
    address, _ = server
    browser.open(address)
    browser.wait("document.getElementById('model').textContent == 'made/run'")
    browser.picture(tmp_path / "empty.png")
    ask(browser, f"a sum {HOSTILE}")
    browser.wait(f"document.querySelector('.model-turn .code') && {IDLE}")
    assert texts(browser, ".bubble") == [f"a sum {HOSTILE}"]
    assert HOSTILE in texts(browser, ".model-turn .code code")[0]
    assert texts(browser, ".model-turn .words > p")[-1] == f"So {HOSTILE}, and {HOSTILE}"
    browser.picture(tmp_path / "light.png")

    browser.click("button[aria-label='A good answer']")
    browser.wait("document.getElementById('toast').textContent.startsWith('Kept. Ask again')")
    Scripted.said = "Two."
    browser.click("button[aria-label='Ask again']")
    browser.wait(f"document.querySelector('.count')?.textContent == '2/2' && {IDLE}")
    browser.click("button[aria-label='A bad answer']")
    browser.wait("document.getElementById('toast').textContent == 'Kept: 1 comparison to learn from'")
    [row] = (tmp_path / "feedback" / "preferences.jsonl").read_text().splitlines()
    kept = json.loads(row)
    assert (kept["chosen"], kept["rejected"]) == (SAID, "Two.")
    assert kept["prompt"] == [{"role": "user", "content": f"a sum {HOSTILE}"}]

    browser.press("ArrowUp")
    browser.wait("document.querySelector('.editor textarea') === document.activeElement")
    browser.value("document.activeElement.select()")
    browser.type("another one")
    browser.press("Enter")
    browser.wait(f"document.querySelector('.bubble')?.textContent == 'another one' && {IDLE}")
    Scripted.said = SAID
    ask(browser, "and a last one")
    browser.wait(f"document.querySelectorAll('.model-turn').length == 2 && {IDLE}")
    for name, size in {
        "dark": (1200, 800, True),
        "narrow": (390, 800),
        "narrow-dark": (390, 800, True),
    }.items():
        browser.size(*size)
        time.sleep(0.5)  # drawers move
        browser.picture(tmp_path / f"{name}.png")
        assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    browser.click("#menu-button")
    time.sleep(0.5)
    browser.picture(tmp_path / "narrow-list.png")

    browser.open(address)  # what was said is still there
    browser.wait("document.getElementById('list').children.length == 2")
    browser.value("document.querySelectorAll('#list .open')[1].click()")
    assert texts(browser, ".bubble") == ["another one", "and a last one"]
    browser.press("n", alt=True, code="KeyN")
    browser.wait("document.querySelector('.greeting')")
    assert browser.value("window.owned === undefined")
    assert browser.problems == []


def test_an_answer_is_stopped_and_its_slot_is_free(
    server: tuple[str, Api], browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, api = server
    step = api.scheduler._batch.step
    monkeypatch.setattr(api.scheduler._batch, "step", lambda: (time.sleep(0.5), step())[1])
    browser.open(address)
    browser.wait("document.getElementById('model').textContent == 'made/run'")
    ask(browser, "a sum")
    browser.wait("document.querySelector('.busy p')")
    assert api.scheduler.load().running == 1
    browser.press("Escape")
    browser.wait(IDLE)
    assert "stopped" in texts(browser, ".note")[-1]
    deadline = time.monotonic() + 120
    while api.scheduler.load().running:
        assert time.monotonic() < deadline
    assert texts(browser, "[aria-label='A good answer']") == []
    assert browser.problems == []


def test_settings_reach_the_model(server: tuple[str, Api], browser: Browser, tmp_path: Path) -> None:
    address, api = server
    asked: list[Any] = []
    submit = api.scheduler.submit

    def noted(requests: Any, *more: Any) -> Any:
        asked.extend(requests)
        return submit(requests, *more)

    api.scheduler.submit = noted  # type: ignore[method-assign]
    browser.open(address)
    browser.wait("document.getElementById('model').textContent == 'made/run'")
    browser.click("#settings-button")
    browser.value(
        "(() => { const f = document.querySelector('#settings form'); f.elements.temperature.value = 0.3; "
        "f.elements.top_k.value = 7; f.elements.max_tokens.value = 9; f.elements.seed.value = 11; "
        "f.elements.theme.value = 'dark'; f.elements.system.value = 'reads'; f.oninput(); })()"
    )
    browser.picture(tmp_path / "settings.png")
    browser.click("#settings .strong")
    ask(browser, "a sum")
    browser.wait(f"document.querySelector('.model-turn') && {IDLE}")
    [one] = asked
    sampling = one.sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.seed) == (0.3, 7, 0.95, 11)
    assert one.max_tokens == 9
    assert browser.value("document.documentElement.dataset.theme") == "dark"
    assert len(one.prompt) > len(api.served.chat_prompt([])) + 4


def test_a_server_with_a_key_asks_for_it(served: Served, browser: Browser, tmp_path: Path) -> None:
    with serving(served, tmp_path / "feedback", Limits(tokens=8), KEY) as (address, _):
        browser.open(address)
        browser.wait("document.getElementById('key').open")
        browser.value("document.querySelector('#key input').focus()")
        browser.type(KEY)
        browser.press("Enter")
        browser.wait("document.getElementById('model').textContent == 'made/run'")
        ask(browser, "a sum")
        browser.wait(f"document.querySelector('.model-turn p') && {IDLE}")
    ask(browser, "is anybody there")
    browser.wait("document.querySelector('.error')")
    assert texts(browser, ".error") == ["The server does not answer. Is it still running?"]
