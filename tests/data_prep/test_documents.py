import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.documents import content_hash, hash64, normalise, seeded_order, share_limit


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("e\u0301te\u0301", "été"),
        ("one  \t\n\n\n\n  two\x00\x07", "one\n\n  two"),
        ("zero\u200bwidth \ufeffmark", "zerowidth mark"),
        ("  \n\n x \n\n ", "x"),
        ("a\u00a0b", "a b"),
        ("half \ud800 a pair", "half  a pair"),
        (" \t \n", ""),
    ],
)
def test_normalise(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


@given(st.text(st.characters(codec=None)))
def test_normalise_is_idempotent_and_encodable(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)
    once.encode()


def test_hashes_are_the_same_on_every_machine() -> None:
    assert hash64("a", 1, b"c") == 16898549936383427867
    assert hash64("ab", "c") != hash64("a", "bc")


def test_content_hash_ignores_case_and_space_alone() -> None:
    assert content_hash("The  cat\n sat") == content_hash("the cat SAT ")
    assert content_hash("The cat sat") != content_hash("The cat, sat")


def test_seeded_order_is_uniform_and_its_purposes_are_independent() -> None:
    ids = np.arange(100_000, dtype=np.uint64)
    split, order = (seeded_order(ids, 7, purpose) for purpose in ("split", "order"))
    # Binomial: three standard deviations of a share of 0.1 over 100,000 draws are 0.0028.
    assert (split < share_limit(0.1)).mean() == pytest.approx(0.1, abs=0.003)
    assert (order[split < share_limit(0.1)] < share_limit(0.5)).mean() == pytest.approx(0.5, abs=0.015)
    assert len(np.unique(order)) == len(ids)
    assert not (seeded_order(ids, 8, "order") == order).any()
