"""The looks of a report: an HTML page of sections and tables that refers to nothing outside itself."""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import count
from pathlib import Path

from data_prep.contract.names import printable
from data_prep.contract.report import Bar, Bars, Cell, Code, Heatmaps, Lines, Part, Picture, Table, Text

MARKS = re.compile(r"(«[^«»]*»|&lt;mask&gt;|&lt;extra_id_\d+&gt;)")
"""Blanks and what fills them, in text made HTML."""


def document(title: str, tiles: list[tuple[str, str, str]], sections: list[tuple[str, str]]) -> str:
    """A page: value, label and note of each headline figure, then titled sections of HTML where not empty."""
    shown = [(name, body) for name, body in sections if body]
    anchors = unique([anchor(name) for name, _ in shown])
    links = " ".join(
        f'<a href="#{place}">{safe(name)}</a>' for place, (name, _) in zip(anchors, shown, strict=True)
    )
    bodies = "".join(
        f'<section id="{place}"><h2>{safe(name)}</h2>{body}</section>'
        for place, (name, body) in zip(anchors, shown, strict=True)
    )
    figures = "".join(
        f"<div><b>{safe(value)}</b><span>{safe(label)}</span><small>{safe(note)}</small></div>"
        for value, label, note in tiles
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{safe(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f"<body><header><p>Bloomery report</p><h1>{safe(title)}</h1>"
        f'<div class="tiles">{figures}</div></header>'
        f"<nav>{links}</nav><main>{bodies}</main></body></html>\n"
    )


def render(part: Part, pictures: Mapping[str, str]) -> str:
    """A part of a section as HTML; `pictures` are <svg> elements by name. Every text is escaped here."""
    if isinstance(part, Table):
        return table(part)
    if isinstance(part, Bars | Lines | Heatmaps):
        return figure([part.name], pictures)
    if isinstance(part, Code):
        return cell(part)
    if isinstance(part, Picture):
        return png(part)
    assert isinstance(part, Text), part
    return f"<p>{safe(part.text)}</p>"


def png(what: Picture) -> str:
    """A picture inside the page; its text where the file is gone."""
    path = Path(what.path)
    if not path.is_file():
        return f"<p>{safe(what.text)}</p>"
    data = b64encode(path.read_bytes()).decode("ascii")
    return f'<figure><img alt="{safe(what.text)}" src="data:image/png;base64,{data}"></figure>'


def figure(names: Iterable[str], pictures: Mapping[str, str]) -> str:
    """The pictures that there are."""
    return "".join(f"<figure>{pictures[name]}</figure>" for name in names if name in pictures)


def table(what: Table) -> str:
    """A table; `numbers` are the columns that stand on the right."""

    def row(cells: Sequence[Cell], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=number' if place in what.numbers else ''}>{cell(one)}</{tag}>"
            for place, one in enumerate(cells)
        )

    if not what.rows:
        return ""
    body = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in what.rows)
    head = f"<thead><tr>{row(what.head, 'th')}</tr></thead>"
    return (
        f'<div class="scroll"><table class="{safe(what.classes)}">{head}<tbody>{body}</tbody></table></div>'
    )


def cell(content: Cell) -> str:
    """A cell's text, bar or code as HTML."""
    if isinstance(content, Bar):
        return f'<div class="bar"><i style="width:{100 * content.share:.1f}%"></i></div>'
    if isinstance(content, Code):
        caption = f"<small>{safe(content.caption)}</small>" if content.caption else ""
        return f"{caption}<pre>{marked(content.text) if content.blanks else safe(content.text)}</pre>"
    return safe(str(content))


def marked(text: str) -> str:
    """A text as HTML with its blanks and what fills them highlighted; a line break there is shown as ↵."""
    return MARKS.sub(lambda found: "<mark>" + found[0].replace("\n", "↵") + "</mark>", safe(text))


def anchor(title: str) -> str:
    """A section's place in the page, of letters and digits alone.

    >>> anchor('A "<b>" title')
    'a-b-title'
    """
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())


def unique(names: Sequence[str]) -> list[str]:
    """Names that differ, the later ones by a number.

    >>> unique(["a", "", "a"])
    ['a', 'section', 'a-2']
    """
    found: list[str] = []
    for name in names:
        name = name or "section"
        number = next(number for number in count(1) if numbered(name, number) not in found)
        found.append(numbered(name, number))
    return found


def numbered(name: str, number: int) -> str:
    """A name, with its number from the second on."""
    return name if number == 1 else f"{name}-{number}"


def safe(text: str) -> str:
    """Text as HTML: no markup in it, and no control characters."""
    return escape(printable(text))


STYLE = """
:root{--ink:#1f2937;--grey:#6b7280;--line:#e5e7eb;--warm:#c2571a;--cold:#3a5a8c}
*{box-sizing:border-box}
body{margin:0;color:var(--ink);background:#f7f7f5;
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header{background:#23272f;color:#fff;padding:28px max(24px,calc(50vw - 520px)) 24px}
header p{margin:0;color:#f0a36b;font-size:13px;letter-spacing:.06em;text-transform:uppercase}
h1{margin:2px 0 18px;font-size:28px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}
.tiles div{background:#30353f;border-radius:8px;padding:12px 14px}
.tiles b{display:block;font-size:22px;font-weight:600}
.tiles span{display:block;font-size:13px;color:#d1d5db}
.tiles small{color:#9ca3af;font-size:12px}
nav{position:sticky;top:0;background:#fff;border-bottom:1px solid var(--line);z-index:1;
padding:9px max(24px,calc(50vw - 520px));font-size:13px}
nav a{color:var(--cold);text-decoration:none;margin-right:16px;white-space:nowrap}
main{max-width:1088px;margin:0 auto;padding:8px 24px 60px}
section{background:#fff;border:1px solid var(--line);border-radius:10px;padding:6px 22px 18px;margin:18px 0;
scroll-margin-top:50px}
h2{font-size:18px;margin:14px 0 10px}h3{font-size:15px;margin:16px 0 6px}
p{max-width:75ch;color:var(--grey);margin:8px 0}
figure{margin:8px 0}figure img{max-width:100%;image-rendering:pixelated}
figure svg{width:100%;height:auto;max-width:880px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th{text-align:left;color:var(--grey);font-weight:500;white-space:nowrap}
th,td{padding:6px 14px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
tbody tr:last-child td{border-bottom:0}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.bar{width:220px;background:#eef0f3;border-radius:4px;height:12px;margin-top:5px}
.bar i{display:block;height:100%;background:var(--warm);border-radius:4px}
.samples td{min-width:180px}
.samples small{color:var(--grey)}
pre,code{font:12.5px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{margin:2px 0;white-space:pre-wrap;overflow-wrap:anywhere}
mark{background:#fbe3cf;color:inherit;border-radius:3px}
summary{cursor:pointer;color:var(--cold)}
@media print{nav{display:none}section{break-inside:avoid}}
"""
