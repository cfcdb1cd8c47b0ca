import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_prep.dedup.exact import ROW, equal_rows


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 9)), max_size=30))
def test_all_but_the_smallest_id_of_each_hash_go(rows: list[tuple[int, int, int]]) -> None:
    table = np.array([(high, low, id_, n % 3, n) for n, (high, low, id_) in enumerate(rows)], ROW)
    kept: dict[tuple[int, int], tuple[int, int, int]] = {}
    for high, low, id_, part, row in sorted(table.tolist(), key=lambda row: (row[2], row[3], row[4])):
        kept.setdefault((high, low), (part, row, id_))
    expected = sorted(
        (part, row, kept[high, low][2])
        for high, low, id_, part, row in table.tolist()
        if (part, row, id_) != kept[high, low]
    )
    shuffled = table[np.random.default_rng(len(rows)).permutation(len(table))]
    assert equal_rows(shuffled).tolist() == expected
