"""Trafilatura's work on a page, done faster with the same result, to the last byte.

More than half of its time goes to XPath queries that try the attributes of every element. Within
`faster_trafilatura` it asks the same questions of functions (`xpath`) that remember their answers. A query
that cannot be read, as a later trafilatura may have some, stays as it is.

The elements themselves are made faster too: lxml asks a Python function for the class of every one of them,
for the sake of form fields that know their values, which nobody here wants to know.
"""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from data_prep.extract.in_turn import read_in_turn
from data_prep.extract.xpath import Query, UnknownXPathError, read_query

IN_TURN = ("RAW_TREE_PRUNE_XPATH", "REMOVE_COMMENTS_AND_LISTS_XPATH")
"""Lists that a page as it was read is asked one after the other."""
LISTS = (
    *IN_TURN,
    "OVERALL_DISCARD_XPATH",
    "BODY_XPATH",
    "TEASER_DISCARD_XPATH",
    "DISCARD_IMAGE_ELEMENTS",
)
"""Trafilatura's lists of queries that every page is asked."""


@contextmanager
def faster_trafilatura() -> Iterator[None]:
    """Within this, trafilatura asks the faster queries. Not for several threads at once."""
    from lxml.etree import ElementDefaultClassLookup
    from lxml.html import HtmlElement, HtmlElementClassLookup
    from trafilatura.utils import HTML_PARSER

    known = places()
    for folder, name, _, quick in known:
        folder[name] = quick
    HTML_PARSER.set_element_class_lookup(ElementDefaultClassLookup(element=HtmlElement))
    try:
        yield
    finally:
        for folder, name, own, _ in known:
            folder[name] = own
        HTML_PARSER.set_element_class_lookup(HtmlElementClassLookup())


@cache
def places() -> list[tuple[Any, Any, Query, Query]]:
    """Where trafilatura's queries stand: a list and a position, or a module's names and a name."""
    lists = vars(importlib.import_module("trafilatura.xpaths"))
    module = vars(importlib.import_module("trafilatura.baseline"))
    known: list[tuple[Any, Any]] = [
        (queries, position)
        for name in LISTS
        for queries in [lists.get(name, [])]
        for position in range(len(queries))
    ]
    known += [(module, "BASIC_CLEAN_XPATH")] if "BASIC_CLEAN_XPATH" in module else []
    first = sum(len(lists.get(name, [])) for name in IN_TURN)
    own = [folder[name] for folder, name in known]
    quick = [*in_turn(own[:first]), *map(faster, own[first:])]
    return [(*place, *both) for place, both in zip(known, zip(own, quick, strict=True), strict=True)]


def in_turn(queries: Sequence[Any]) -> list[Query]:
    """The XPath queries as functions that walk a page together; one by one where they are not read so."""
    try:
        return read_in_turn([query.path for query in queries]) if queries else []
    except UnknownXPathError:
        return [*map(faster, queries)]


def faster(query: Any) -> Query:
    """The XPath query as a function; itself where it is not read."""
    try:
        return read_query(query.path)
    except UnknownXPathError:
        return query
