"""Queries as functions against lxml's XPath, and whole pages against trafilatura as it is."""

from typing import Any

import lxml.html
import pytest
import trafilatura
from hypothesis import given
from hypothesis import strategies as st
from lxml.etree import XPath

from data_prep.extract.faster import faster_trafilatura, places
from data_prep.extract.html import ExtractionError, extract
from data_prep.extract.in_turn import read_in_turn
from data_prep.extract.xpath import UnknownXPathError, read_query

NAMESPACES = {"re": "http://exslt.org/regular-expressions"}
TAGS = [
    "div",
    "p",
    "section",
    "article",
    "main",
    "span",
    "aside",
    "ul",
    "form",
    "h1",
    "table",
    "list",
    "item",
]
VALUES = ["post", "entry-content", "comment-list", "Teaser", "nav menu", "footer", "share-x", "main", "x", ""]
VALUES += [
    "infinite-scroll",
    "cookie-banner",
    "caption",
    "display:none",
    "hidden",
    "reply-1",
    "story",
    "content",
]
SENTENCES = ["The boats come back in the morning, and the old harbour wakes. " * 5, "Home", "Read more", " "]

attributes = st.dictionaries(
    st.sampled_from(["id", "class", "style", "role", "aria-hidden"]), st.sampled_from(VALUES), max_size=3
)


@st.composite
def pages(draw: st.DrawFn) -> str:
    """A small page: elements inside one another, with attributes that trafilatura's queries look for."""

    def element(depth: int) -> str:
        tag = draw(st.sampled_from(TAGS))
        names = "".join(f' {name}="{value}"' for name, value in draw(attributes).items())
        inside = "".join(element(depth + 1) for _ in range(draw(st.integers(0, 3)))) if depth < 4 else ""
        return f"<{tag}{names}>{draw(st.sampled_from(SENTENCES))}{inside}</{tag}>"

    return f"<html><body>{''.join(element(0) for _ in range(3))}</body></html>"


QUERIES = [
    ".//div",
    ".//*[@id]",
    ".//*[self::div or self::p][@class='x' or contains(@id, 'share')]",
    "(.//*[self::div][re:test(@class, '^(?:main|story)$')])[1]",
    ".//*[starts-with(@id|@class, 'reply-')]",
    ".//*[self::p or self::div][re:test(@class|@id, 'MAIN', 'i')][1]",
    ".//*[contains(translate(@class, 'T', 't'), 'teaser') and not(@id='x')]",
    ".//section[@class][not(.//h1) or @role='main']",
    ".//aside|(.//main)[1]|.//p[@style]",
]

IN_TURN = [
    ".//*[self::div or self::section][re:test(@id, 'infinite') or contains(@class, 'scroll')][not(.//h1)]",
    ".//*[self::div or self::aside][contains(@class, 'share')]",
    ".//*[starts-with(@id|@class, 'reply-')]",
    ".//section",
]


@given(pages(), st.sampled_from(QUERIES))
def test_a_query_finds_what_xpath_finds(page: str, path: str) -> None:
    tree = lxml.html.fromstring(page)
    assert read_query(path)(tree) == XPath(path, namespaces=NAMESPACES)(tree)


@given(pages(), st.lists(st.sampled_from(IN_TURN), min_size=1, max_size=4))
def test_queries_in_turn_find_what_xpath_finds_after_what_was_found_is_gone(
    page: str, paths: list[str]
) -> None:
    ours, own = lxml.html.fromstring(page), lxml.html.fromstring(page)
    for path, query in zip(paths, read_in_turn(paths), strict=True):
        found, expected = query(ours), XPath(path, namespaces=NAMESPACES)(own)
        assert [*map(lxml.html.tostring, found)] == [*map(lxml.html.tostring, expected)]
        for element in [*found, *expected]:
            element.drop_tree()


@pytest.mark.parametrize("path", ["(.//main)[1]", ".//p[1]", ".//p|.//div[.//h1]"])
def test_only_tests_of_elements_go_in_turn(path: str) -> None:
    with pytest.raises(UnknownXPathError):
        read_in_turn([".//div", path])


@given(st.lists(pages(), min_size=1, max_size=3))
def test_every_query_of_trafilatura_finds_the_same(found: list[str]) -> None:
    trees = [lxml.html.fromstring(page) for page in found]
    for _, _, own, quick in places():
        assert [quick(tree) for tree in trees] == [own(tree) for tree in trees]


def test_every_query_of_this_trafilatura_is_read() -> None:
    assert len(places()) >= 13
    assert all(own is not quick for _, _, own, quick in places())


@pytest.mark.parametrize(
    "path",
    ["//p", ".//p[2]", ".//p[last()]", ".//p[@a!='x']", ".//a/@href", ".//p[contains(., 'x')]", ".//p["],
)
def test_what_is_not_read_is_refused(path: str) -> None:
    with pytest.raises(UnknownXPathError):
        read_query(path)


@given(pages())
def test_the_text_is_trafilaturas_own(page: str) -> None:
    own = trafilatura.extract(page, fast=True, include_comments=False)
    try:
        ours: str | None = extract(page.encode(), "", "trafilatura")
    except ExtractionError:
        ours = None
    assert ours == (own if own and own.strip() else None)


def test_trafilatura_is_left_as_it_was() -> None:
    import trafilatura.utils as utils

    def state() -> list[Any]:
        return [folder[name] for folder, name, _, _ in places()]

    before = state()
    with faster_trafilatura():
        assert state() != before
    assert state() == before
    assert type(utils.load_html("<html><body><form>x</form></body></html>").find(".//form")).__name__ == (
        "FormElement"
    )
