"""XPath queries that a tree is asked one after the other, in one walk where they find nothing."""

from collections.abc import Sequence
from functools import partial

from data_prep.extract.xpath import Element, Query, Reader, UnknownXPathError, read_query, remembered


def read_in_turn(paths: Sequence[str]) -> list[Query]:
    """Functions for queries that a tree is asked one after the other, which walk it once where they can.

    Between one and the next nothing may happen to the tree, but where a query finds something: what the first
    one has seen for the others is then forgotten. Raises `UnknownXPathError` as `read_query` does.
    """
    return _OneWalk([Reader(path) for path in paths], [*map(read_query, paths)]).queries


class _OneWalk:
    """Queries in turn: the first one of them looks for all."""

    def __init__(self, readers: Sequence[Reader], alone: Sequence[Query]) -> None:
        self.alone = alone
        branches = [reader.branches() for reader in readers]
        if any(len(it) > 1 or it[0].first or it[0].first_of_parent for it in branches):
            raise UnknownXPathError("more than tests of elements")
        self.branches = [branch for [branch] in branches]
        every = any(not branch.tags for branch in self.branches)
        self.tags = [] if every else sorted(frozenset.union(*(branch.tags for branch in self.branches)))
        attributes = sorted(frozenset[str]().union(*(reader.attributes for reader in readers)))
        self.holding = remembered(self._holding, attributes, any(reader.ordered for reader in readers))
        self.tree: Element = None
        """The tree that was walked, as long as it is as it was then."""
        self.found: list[list[Element]] = []
        self.queries: list[Query] = [partial(self._ask, number) for number in range(len(alone))]

    def _holding(self, element: Element) -> list[int]:
        return [number for number, branch in enumerate(self.branches) if branch.holds(element)]

    def _ask(self, number: int, tree: Element) -> list[Element]:
        if number == 0:
            self.tree, self.found = tree, self._walk(tree)
        elif self.tree is not tree:
            return self.alone[number](tree)
        found = self.found[number]
        if found or number == len(self.alone) - 1:
            self.tree, self.found = None, []
        return found

    def _walk(self, tree: Element) -> list[list[Element]]:
        found: list[list[Element]] = [[] for _ in self.branches]
        holding = self.holding
        for element in tree.iterdescendants(*self.tags or "*"):
            for number in holding(element):
                if all(test(element) for test in self.branches[number].inner):
                    found[number].append(element)
        return found
