"""Names and texts from outside in the report, its pictures and MLflow's description: shown, never obeyed."""

import json
import warnings
from pathlib import Path

import pytest

from data_prep.contract.receipt import Receipt, write_receipt
from data_prep.contract.report import Bars, Code, Line, Lines, Panel, Section, StageReport, Table, Text
from pipeline.reports import report
from pipeline.reports.card import markdown
from pipeline.reports.describe import description
from pipeline.reports.findings import Findings, StageView
from pipeline.reports.plots import lines, png, svg
from tests.pipeline.reports.test_report import outline

HOSTILE = '_x_ $a$ <script>alert("1")</script> \x1b[31m\x00\u202e 中 \'"'
SHOWN = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; \\x1b[31m\\x00\\u202e 中"


@pytest.fixture
def findings(tmp_path: Path) -> Findings:
    """A work folder whose every text is hostile, twice."""
    chart = Lines("curve", HOSTILE, HOSTILE, [Line(HOSTILE, [0, 1], [0.1, 0.9])], {HOSTILE: 0.5}, share=True)
    bars = Bars("bars", [Panel(HOSTILE, [(HOSTILE, 1.0, HOSTILE)])])
    table = Table([HOSTILE], [[HOSTILE], [Code(HOSTILE, HOSTILE)], [Code(HOSTILE, blanks=True)]])
    section = Section(HOSTILE, [Text(HOSTILE), table, chart, bars])
    receipt = Receipt(stage="a", fingerprint="f", config={"model": {"architecture": HOSTILE}})
    (tmp_path / "a" / "checkpoints" / "step-1").mkdir(parents=True)
    write_receipt(tmp_path / "a", receipt)
    told = StageReport(sections=[section, section], commands=[f"echo RUN {HOSTILE}"])
    return Findings(tmp_path, [StageView("a", HOSTILE, tmp_path / "a", (), receipt, [], told)])


def test_the_page_has_no_markup_and_no_control_characters_of_texts(findings: Findings) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written = report.write_report(findings)
    page, found = written.read_text(encoding="utf-8"), outline(written)
    assert (found.wrong, found.open) == ([], [])
    assert "<script" not in page
    assert not {"\x1b", "\x00", "\u202e"} & set(page)
    assert page.count(SHOWN) >= 6
    anchors = [one.removeprefix("#") for one in found.addresses if "script" in one]
    assert len(set(anchors)) == 2
    assert all(f'id="{one}"' in page for one in anchors)


def test_a_name_that_begins_with_an_underscore_has_its_place_in_the_legend() -> None:
    figure = lines(Lines("curve", "x", "y", [Line("_base $2$", [0, 1], [0, 1])]))
    (text,) = figure.axes[0].get_legend().get_texts()
    assert text.get_text().strip() == r"_base \$2\$"
    assert "_base $2$" in svg("curve", figure)
    assert png(figure).startswith(b"\x89PNG")


def test_the_description_is_our_markdown_alone(findings: Findings) -> None:
    told = description(findings)
    assert "<script" not in told.split("```")[0]
    assert not {"\x1b", "\x00", "\u202e"} & set(told)
    assert "![stages](get-artifact?run_uuid={this run}&path=plots/stages.png)" in told
    assert told.count("```") % 2 == 0


def test_a_cell_ends_no_row_and_code_no_block() -> None:
    told = markdown([Table(["a|b"], [["c\nd"], [Code("e`|f")]]), Code("x\n```\ny")])
    assert told == "| a\\|b |\n| --- |\n| c d |\n| `e'\\|f` |\n\n```\nx\n'''\ny\n```"


def test_stages_that_have_not_begun_are_in_the_graph(findings: Findings) -> None:
    graph = {name: {"kind": "k", "needs": needs} for name, needs in (("a", []), ("b", ["a"]))}
    (findings.work / "stages.json").write_text(json.dumps(graph))
    assert "| b &nbsp; | k &nbsp; | a &nbsp; | not begun &nbsp; |  |" in description(findings)
