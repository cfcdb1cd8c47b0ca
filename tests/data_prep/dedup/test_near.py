"""Near-deduplication against brute force: true Jaccard similarities, and components by depth-first search."""

import random
import re
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.config import NearDedupConfig
from data_prep.dedup.minhash import MinHash
from data_prep.dedup.near import all_but_the_best, components, linked, spanning
from data_prep.filters.words import shingles
from tests.data_prep.helpers import WORDS


@cache
def word_tuples(text: str, ngram: int = 5) -> frozenset[tuple[str, ...]]:
    """The n-grams of a text as they are: nothing of the code under test."""
    words = re.findall(r"[^\W_]+", text.lower())
    return frozenset(tuple(words[i : i + ngram]) for i in range(max(1, len(words) - ngram + 1)))


def jaccard(one: str, other: str) -> float:
    both = len(word_tuples(one) & word_tuples(other))
    return both / (len(word_tuples(one)) + len(word_tuples(other)) - both)


def edited(text: str, changes: int, draw: random.Random) -> str:
    """The text with that many words replaced."""
    words = text.split()
    for position in draw.sample(range(len(words)), changes):
        words[position] = draw.choice(WORDS) + str(draw.randrange(100))
    return " ".join(words)


def random_text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(WORDS, k=words))


def test_equal_minima_estimate_the_similarity() -> None:
    """112 permutations: the estimate's standard deviation is at most sqrt(.25 / 112) = 0.047; over 60 pairs
    the mean error has a standard deviation below 0.007, and four of them are allowed."""
    draw = random.Random(1)
    minhash = MinHash(NearDedupConfig())
    errors = []
    for _ in range(60):
        text = random_text(draw, 300)
        other = edited(text, draw.randrange(40), draw)
        one, two = (minhash.signature(shingles(t, 5)) for t in (text, other))
        errors.append((one == two).mean() - jaccard(text, other))
    assert abs(np.mean(errors)) < 0.028
    assert np.abs(errors).max() < 5 * 0.047


@pytest.mark.parametrize(("bands", "rows"), [(14, 8), (20, 13), (5, 3)])
def test_pairs_are_found_as_often_as_the_formula_says(bands: int, rows: int) -> None:
    """P(found) = 1 - (1 - s^r)^b, summed over 600 pairs of known similarity; three standard deviations."""
    draw = random.Random(bands)
    minhash = MinHash(NearDedupConfig(bands=bands, rows=rows))
    expected, variance, found = 0.0, 0.0, 0
    for _ in range(600):
        text = random_text(draw, 200)
        other = edited(text, draw.randrange(1, 14), draw)
        chance = 1 - (1 - jaccard(text, other) ** rows) ** bands
        expected, variance = expected + chance, variance + chance * (1 - chance)
        found += bool((minhash.bands(text) == minhash.bands(other)).any())
    assert abs(found - expected) < 3 * variance**0.5 + 1


def test_shingles_do_not_depend_on_case_or_symbols() -> None:
    one, other = shingles("The cat, sat: on (the) mat today!", 5), shingles("the CAT sat on the mat today", 5)
    assert (one == other).all()
    assert len(one) == 3
    assert len(shingles("Zwölf Boxkämpfer jagen Viktor quer über den Deich", 5)) == 4
    assert len(shingles("two words", 5)) == 1
    assert len(shingles("two words", 5, whole=False)) == 0


@given(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), max_size=40))
def test_components_are_those_of_a_search(pairs: list[tuple[int, int]]) -> None:
    labels = components(np.array(pairs, np.int64).reshape(-1, 2), 26)
    neighbours: dict[int, set[int]] = {node: set() for node in range(26)}
    for one, other in pairs:
        neighbours[one].add(other)
        neighbours[other].add(one)
    for node in range(26):
        reached, waiting = {node}, [node]
        while waiting:
            new = neighbours[waiting.pop()] - reached
            reached |= new
            waiting += new
        assert labels[node] == min(reached)


@given(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), max_size=40))
def test_a_spanning_forest_connects_the_same(pairs: list[tuple[int, int]]) -> None:
    links = np.array(pairs, np.uint64).reshape(-1, 2)
    forest = spanning(links)
    assert len(forest) <= max(len(np.unique(links)) - 1, 0)
    assert (components(forest.astype(np.int64), 26) == components(links.astype(np.int64), 26)).all()


def test_a_long_chain_is_one_component() -> None:
    order = np.random.default_rng(0).permutation(100_000)
    assert (components(np.stack([order[:-1], order[1:]], axis=1), 100_000) == 0).all()


def test_links_connect_equal_keys_and_nothing_else() -> None:
    keys = np.array([5, 7, 5, 9, 5, 7], np.uint64)
    assert linked(keys, np.arange(6, dtype=np.uint64)).tolist() == [[0, 2], [0, 4], [1, 5]]


def test_the_longest_stays_then_the_smallest_hash_then_the_smallest_id() -> None:
    nodes = np.array([1, 2, (1 << 32) | 4, (1 << 32) | 5, (1 << 32) | 6], np.uint64)
    labels, sizes = np.array([0, 0, 0, 3, 3]), np.array([10, 30, 30, 5, 5])
    hashes, ids = np.array([1, 8, 7, 6, 6], np.uint64), np.array([40, 20, 30, 11, 10], np.uint64)
    assert all_but_the_best(nodes, labels, sizes, hashes, ids).tolist() == [
        (0, 1, 30),
        (0, 2, 30),
        (1, 5, 10),
    ]
