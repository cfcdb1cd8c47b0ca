"""The report: every part is there, nothing outside is referred to, and missing stages leave no hole."""

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from data_prep.contract.receipt import Receipt, write_receipt
from data_prep.contract.report import Line, Lines, Text, short
from launch.kinds import all_kinds
from pipeline.reports.findings import Findings, headlines
from pipeline.reports.measured import held_out
from pipeline.reports.page import marked
from pipeline.reports.plots import lines, smooth
from pipeline.reports.report import write_report
from pipeline.stages.summary import findings_of
from tests.pipeline.evaluation.works import finished_work


class Outline(HTMLParser):
    """Headings, tags that are not closed in order, and every address that a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attributes if name in {"src", "href", "xlink:href"}]
        if tag not in {"meta", "br", "img", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def found_in(work: Path) -> Findings:
    return findings_of(work, all_kinds())


def outline(path: Path) -> Outline:
    found = Outline()
    found.feed(path.read_text(encoding="utf-8"))
    return found


def test_the_report_of_a_whole_run(tmp_path: Path) -> None:
    finished_work(tmp_path)
    text = write_report(found_in(tmp_path)).read_text(encoding="utf-8")
    found = outline(tmp_path / "report.html")
    assert found.wrong == []
    assert found.open == []
    assert found.headings == [
        "What the models can do",
        "Stages",
        "Documents",
        "Pretraining",
        "Instruction tuning",
        "Tasks: exam",
        "Held-out text",
        "Generations, side by side",
        "Models",
        "Where things are",
        "What made it",
        "Resolved recipe",
    ]
    assert all(address.startswith("#") for address in found.addresses)
    assert text.count("<svg") == 7
    for words in (
        "62% (10% to 90%, 4-shot)",
        "unigram model",
        "1.31",
        "4.100",
        "step-20",
        "&lt;too short&gt;",
        "2 an empty choice",
    ):
        assert words in text
    assert "def &lt;f&gt;(x)" in text
    assert "adds &lt;one&gt;" in text
    assert "<f>" not in text
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {
        "funnel.png",
        "pretrain_loss.png",
        "pretrain_speed.png",
        "tune_loss.png",
        "tune_speed.png",
        "eval_exam_shots.png",
        "stages.png",
    }
    assert (tmp_path / "plots" / "eval_exam_shots.png").read_bytes().startswith(b"\x89PNG")


def test_two_stages_of_a_kind_are_told_apart_in_titles(tmp_path: Path) -> None:
    finished_work(tmp_path)
    graph = {name: {"kind": "pretrain", "needs": []} for name in ("pretrain", "tune")}
    (tmp_path / "stages.json").write_text(json.dumps(graph))
    for name in graph:
        receipt = Receipt(stage=name, kind="pretrain", fingerprint=name, config={})
        write_receipt(tmp_path / name, receipt)
    headings = outline(write_report(found_in(tmp_path))).headings
    assert headings[1:3] == ["Pretraining: pretrain", "Pretraining: tune"]


def test_references_inside_the_figures_are_unambiguous(tmp_path: Path) -> None:
    finished_work(tmp_path)
    text = write_report(found_in(tmp_path)).read_text(encoding="utf-8")
    figures = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    defined = [
        set(re.findall(r'<(?:clipPath|path|marker|use)[^>]* id="([^"]+)"', figure)) for figure in figures
    ]
    for number, figure in enumerate(figures):
        used = set(re.findall(r'(?:url\(|href=")#([^")]+)', figure))
        assert used <= defined[number]
        elsewhere = set().union(*defined[:number], *defined[number + 1 :])
        assert not used & elsewhere


@pytest.mark.parametrize("left", [[], ["dataset"], ["dataset", "pretrain"], ["eval"]])
def test_missing_stages_leave_no_hole(tmp_path: Path, left: list[str]) -> None:
    finished_work(tmp_path / "whole")
    (tmp_path / "part").mkdir()
    for name in left:
        (tmp_path / "whole" / name).rename(tmp_path / "part" / name)
    found = outline(write_report(found_in(tmp_path / "part")))
    assert found.wrong == []
    assert ("Documents" in found.headings) == ("dataset" in left)
    assert ("What the models can do" in found.headings) == ("eval" in left)
    assert "Where things are" in found.headings


def test_a_work_folder_that_was_moved_keeps_the_names_of_its_models(tmp_path: Path) -> None:
    finished_work(tmp_path / "work")
    path = tmp_path / "work" / "eval" / "results.json"
    results = json.loads(path.read_text())
    names = dict(zip(results["runs"], ("pretrain", "tune"), strict=False))
    for form in ("../{}", "work/{}", "/gone/before/{}"):  # the last two as they once were written
        results["places"] = {label: form.format(name) for label, name in names.items()}
        path.write_text(json.dumps(results))
        found = found_in((tmp_path / "work").rename(tmp_path / "moved"))
        assert [found.label(tmp_path / "moved" / name) for name in names.values()] == [*names]
        (tmp_path / "moved").rename(tmp_path / "work")


def test_headlines_put_the_results_first(tmp_path: Path) -> None:
    finished_work(tmp_path)
    found = {one.label: (one.value, one.note) for one in headlines(found_in(tmp_path))}
    assert next(iter(found)) == "held-out loss"
    assert found["held-out loss"] == ("3.200", "pretrained; a unigram model has 6.500")
    assert found["documents kept"] == ("150", "of 200 (75.0%)")
    assert found["train tokens"][0] == "1.23 M"
    assert found["tasks learnt"] == ("0 of 1", "tuned, above chance and unigram")
    assert headlines(found_in(tmp_path / "none")) == []


def test_counts_in_three_digits() -> None:
    assert [short(number) for number in (0, 999, 1234, 3_120_000, 7.5e9, 2e12)] == [
        "0",
        "999",
        "1.23 k",
        "3.12 M",
        "7.5 B",
        "2 T",
    ]


def test_smoothing_is_the_mean_of_what_came_before() -> None:
    values = np.random.default_rng(0).normal(size=200).tolist()
    by_hand = [float(np.mean(values[max(0, n - 4) : n + 1])) for n in range(200)]
    assert smooth(values) == pytest.approx(by_hand)
    assert smooth([]) == []


def test_blanks_and_what_fills_them_are_marked(tmp_path: Path) -> None:
    assert marked("a <b> «c\n» <mask>") == "a &lt;b&gt; <mark>«c↵»</mark> <mark>&lt;mask&gt;</mark>"
    assert marked("<extra_id_12>\nd") == "<mark>&lt;extra_id_12&gt;</mark>\nd"
    assert marked("«a «b»") == "«a <mark>«b»</mark>"
    begun = time.process_time()
    assert marked("«a" * 200_000) == "«a" * 200_000
    assert time.process_time() - begun < 5
    finished_work(tmp_path)
    path = tmp_path / "eval" / "samples.jsonl"
    blank = {
        "prompt": "a <mask>",
        "source": "held-out text with blanks",
        "blanks": True,
        "reference": "a «b»",
    }
    path.write_text(
        path.read_text() + json.dumps(blank | {"answers": {"pretrained": "a «c»", "tuned": "a «d»"}})
    )
    headings = outline(write_report(found_in(tmp_path))).headings
    assert headings.index("Blanks filled in") < headings.index("Generations, side by side")


def test_models_asked_with_one_number_of_examples_stand_beside_each_other() -> None:
    """Nearer than a tenth of the picture to the one tick."""
    models = [Line(name, [0], [0.3], [0.2], [0.4]) for name in ("pretrained", "tuned")]
    (axes,) = lines(Lines("shots", "examples", "accuracy", models, {"chance": 0.25}, share=True)).axes
    left, right = axes.get_xlim()
    places = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert len(places) >= 2
    assert all(abs(place - axes.get_xticks()[0]) < (right - left) / 10 for place in places)


def test_shuffled_words_are_explained_where_they_are_measured() -> None:
    figures = {"loss": 5.2, "perplexity": 181.0, "accuracy": 0.17}
    results = {"validation": {"unigram": figures, "about": "50 hidden tokens"}}
    for more, told in (({}, False), ({"shuffled_loss": 6.9}, True)):
        parts = held_out(results | {"runs": {"pretrained": {"validation": figures | more}}})
        words = " ".join(part.text for part in parts if isinstance(part, Text))
        assert ("with the words it reads shuffled" in words) == told
