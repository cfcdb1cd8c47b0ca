"""XPath queries read once into Python functions, for the many small questions that are asked of every page.

Whether an element is meant mostly depends on its tag and a few of its attributes, which repeat within pages
and between them. So a query's function walks the elements and remembers its answers; libxml2 tries every test
on every element, and calls back for regular expressions.

This much of XPath is read: unions of `.//name[...]` and `(.//name[...])[1]`; in brackets `and`, `or`, `not`,
`re:test`, `contains`, `starts-with`, `translate`, attributes that are there or equal a string, `self::name`,
`.//name` and a final `[1]`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

Element = Any
Query = Callable[[Element], list[Element]]
Test = Callable[[Element], bool]
Value = Callable[[Element], str]
Answer = TypeVar("Answer")

REMEMBERED = 1 << 16
"""Answers that a query keeps: some MB, where crawls hold ever new ones."""
_TOKEN = re.compile(r"\s*('[^']*'|\"[^\"]*\"|\.//|::|[A-Za-z][\w-]*(?::[A-Za-z][\w-]*)?|1|[@()\[\]|=,*])\s*")


class UnknownXPathError(ValueError):
    """A query with something in it that is not read here."""


def read_query(path: str) -> Query:
    """A function from a tree to the elements that the query finds in it, in the order of the page.

    Raises `UnknownXPathError` where there is something in the query that is not read here.
    """
    return Reader(path).query()


@dataclass
class Branch:
    """One path of a union: the tags that it looks at (none: all), and what the elements have to be."""

    tags: frozenset[str]
    own: list[Test] = field(default_factory=list)
    """Tests of the element's tag and attributes."""
    inner: list[Test] = field(default_factory=list)
    """Tests of what is below it."""
    first: bool = False
    """Whether only the first element of the page is meant."""
    first_of_parent: bool = False
    """Whether only the first one below each parent is."""

    def holds(self, element: Element) -> bool:
        return (not self.tags or element.tag in self.tags) and all(test(element) for test in self.own)


class Reader:
    """Reads a query by recursive descent."""

    def __init__(self, path: str) -> None:
        self.tokens: list[str] = []
        self.at = position = 0
        while position < len(path):
            match = _TOKEN.match(path, position)
            if not match:
                raise UnknownXPathError(path[position:])
            self.tokens.append(match[1])
            position = match.end()
        self.attributes: set[str] = set()
        self.ordered = False
        """Whether it counts which attribute stands first."""
        self.looks_below = False

    def query(self) -> Query:
        branches, attributes = self.branches(), sorted(self.attributes)
        queries = [_query(branch, attributes, self.ordered) for branch in branches]
        return queries[0] if len(queries) == 1 else _union(queries)

    def branches(self) -> list[Branch]:
        branches = [self._path()]
        while self._take("|"):
            branches.append(self._path())
        if self.at < len(self.tokens):
            raise UnknownXPathError(self.tokens[self.at])
        return _joined(branches)

    def _path(self) -> Branch:
        first = self._take("(")
        self._need(".//")
        branch = Branch(frozenset(self._tags() if self._take("*") else [self._name()]), first=first)
        while not branch.first_of_parent and self._take("["):
            self._bracket(branch)
        if first:
            self._need(")", "[", "1", "]")
        return branch

    def _bracket(self, branch: Branch) -> None:
        self.looks_below = False
        if self._take("1"):
            branch.first_of_parent = True
        else:
            test = self._either()
            (branch.inner if self.looks_below else branch.own).append(test)
        self._need("]")

    def _tags(self) -> list[str]:
        """The tags in the next bracket, where it names nothing else; else none, and it is yet to be read."""
        start, tags = self.at, []
        if self._take("[", "self", "::"):
            tags = [self._name()]
            while self._take("or", "self", "::"):
                tags.append(self._name())
            if self._take("]"):
                return tags
        self.at = start
        return []

    def _either(self) -> Test:
        tests = [self._both()]
        while self._take("or"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda element: any(test(element) for test in tests)

    def _both(self) -> Test:
        tests = [self._single()]
        while self._take("and"):
            tests.append(self._single())
        return tests[0] if len(tests) == 1 else lambda element: all(test(element) for test in tests)

    def _single(self) -> Test:
        negated = self._take("not")
        if self._take("("):
            test = self._either()
            self._need(")")
            return (lambda element: not test(element)) if negated else test
        if negated:
            raise UnknownXPathError("not without brackets")
        if self._take("self", "::"):
            tag = self._name()
            return lambda element: bool(element.tag == tag)
        if self._take(".//"):
            below, self.looks_below = ".//" + self._name(), True
            return lambda element: element.find(below) is not None
        return self._attribute_test()

    def _attribute_test(self) -> Test:
        if self._take("re:test", "("):
            value, pattern = self._value(), self._argument()
            search = re.compile(pattern, re.IGNORECASE if self._take(",", "'i'") else 0).search
            self._need(")")
            return lambda element: search(value(element)) is not None
        for function, compare in (("contains", str.__contains__), ("starts-with", str.startswith)):
            if self._take(function, "("):
                value, piece = self._value(), self._argument()
                self._need(")")
                return lambda element: compare(value(element), piece)
        self._need("@")
        name = self._name()
        self.attributes.add(name)
        if self._take("="):
            wanted = self._string()
            return lambda element: bool(element.get(name) == wanted)
        return lambda element: element.get(name) is not None

    def _value(self) -> Value:
        """The text of an attribute, empty where it is missing; of a union's the one that stands first."""
        if self._take("translate", "("):
            value, old, new = self._value(), self._argument(), self._argument()
            self._need(")")
            if len(old) != len(new) or len({*old}) != len(old):
                raise UnknownXPathError("translate that deletes")
            table = str.maketrans(old, new)
            return lambda element: value(element).translate(table)
        self._need("@")
        names = [self._name()]
        while self._take("|", "@"):
            names.append(self._name())
        self.attributes.update(names)
        if len(names) == 1:
            return lambda element: element.get(names[0], "")
        self.ordered = True
        return lambda element: next((text for name, text in element.items() if name in names), "")

    def _argument(self) -> str:
        self._need(",")
        return self._string()

    def _name(self) -> str:
        return self._next(r"[A-Za-z][\w-]*")

    def _string(self) -> str:
        return self._next(r"'[^']*'|\"[^\"]*\"")[1:-1]

    def _next(self, pattern: str) -> str:
        """The next token, which has to be of this form."""
        token = self.tokens[self.at] if self.at < len(self.tokens) else ""
        if not re.fullmatch(pattern, token):
            raise UnknownXPathError(token)
        self.at += 1
        return token

    def _take(self, *wanted: str) -> bool:
        """Whether these tokens come next, which are then passed over."""
        found = self.tokens[self.at : self.at + len(wanted)] == [*wanted]
        self.at += len(wanted) * found
        return found

    def _need(self, *wanted: str) -> None:
        if not self._take(*wanted):
            raise UnknownXPathError(" ".join(self.tokens[self.at :]))


def _joined(branches: list[Branch]) -> list[Branch]:
    """A union of tests alone is one branch, so that it takes one walk."""
    if len(branches) == 1 or any(it.inner or it.first or it.first_of_parent for it in branches):
        return branches
    every = any(not branch.tags for branch in branches)
    tags = frozenset[str]() if every else frozenset.union(*(branch.tags for branch in branches))
    return [Branch(tags, [lambda element: any(branch.holds(element) for branch in branches)])]


def _query(branch: Branch, attributes: Sequence[str], ordered: bool) -> Query:
    """What a branch finds in a tree."""
    own = remembered(lambda element: all(test(element) for test in branch.own), attributes, ordered)
    tags = sorted(branch.tags)

    def found(tree: Element) -> list[Element]:
        elements: Iterator[Element] = (
            element for element in tree.iterdescendants(*tags or "*") if own(element)
        )
        if branch.inner:
            elements = (element for element in elements if all(test(element) for test in branch.inner))
        if branch.first_of_parent:
            elements = _first_of_parents(elements)
        return [*islice(elements, 1 if branch.first else None)]

    return found


def _first_of_parents(elements: Iterable[Element]) -> Iterator[Element]:
    parents = set()
    for element in elements:
        parent = element.getparent()
        if parent not in parents:
            parents.add(parent)
            yield element


def _union(queries: Sequence[Query]) -> Query:
    """What any of the queries finds, in the order of the page."""

    def found(tree: Element) -> list[Element]:
        elements = {element for query in queries for element in query(tree)}
        return [element for element in tree.iterdescendants("*") if element in elements] if elements else []

    return found


def remembered(
    compute: Callable[[Element], Answer], attributes: Sequence[str], ordered: bool
) -> Callable[[Element], Answer]:
    """Its answers, looked up by the element's tag and attributes, in order where that counts."""
    answers: dict[Any, Answer] = {}
    alone = len(attributes) - 1  # attributes that are missing where there is no order

    def answer(element: Element) -> Answer:
        key = (element.tag, *map(element.get, attributes))
        if ordered and key.count(None) < alone:
            key += (*filter(attributes.__contains__, element.keys()),)
        try:
            return answers[key]
        except KeyError:
            if len(answers) >= REMEMBERED:
                answers.clear()
            return answers.setdefault(key, compute(element))

    return answer
