"""Rows of files that are sorted by part: each part reads its own, whatever the others have."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from data_prep.by_part import Places, rows_at
from data_prep.documents import write_array
from data_prep.filters.decide import DROP
from data_prep.storage import Storage


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three files of drops in 20 parts, one of them empty."""
    rng, paths = np.random.default_rng(0), []
    for number, count in enumerate((300, 0, 50)):
        rows = np.zeros(count, DROP)
        rows["part"], rows["row"] = rng.integers(0, 20, count), rng.integers(0, 1000, count)
        rows["kept"] = rng.integers(0, 1 << 60, count)
        paths.append(tmp_path / f"{number}.drops.npy")
        write_array(paths[-1], np.sort(rows, order=["part", "row"]))
    return paths


def test_every_part_has_its_rows(files: list[Path]) -> None:
    whole = np.concatenate([np.load(path) for path in files])
    places = Places(files, DROP)
    assert places.rows == len(whole)
    for part in range(21):
        expected = np.sort(whole[whole["part"] == part])
        np.testing.assert_array_equal(rows_at(places.here, places.of(part), DROP), expected)


def test_a_part_reads_as_many_bytes_as_its_rows_have(files: list[Path]) -> None:
    places, read = Places(files, DROP), []
    real = Storage.slices

    def counted(storage: Storage, *pieces: list[int]) -> list[bytes]:
        found = real(storage, *pieces)  # type: ignore[arg-type]
        read.append(sum(map(len, found)))
        return found

    with patch.object(Storage, "slices", counted):
        rows = [rows_at(places.here, places.of(part), DROP) for part in range(20)]
    assert read == [len(own) * DROP.itemsize for own in rows]


def test_parts_that_lose_nothing_ask_for_nothing(tmp_path: Path) -> None:
    assert Places([], DROP).of(3) == []
    assert len(rows_at(Storage(tmp_path), [], DROP)) == 0
