"""Line deduplication against a dictionary of all lines."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.dedup import steps
from data_prep.dedup.lines import LINE, REASON, line_hash, lost_lines, without_lines
from tests.data_prep.helpers import prep_config, prepare_here, story, write_jsonl

NOTICE = "All rights reserved by the harbour office."


def test_a_text_loses_what_others_have_and_what_it_said_before() -> None:
    text = f"First line.\n  {NOTICE.upper()}\nSecond line.\n\n\nfirst LINE.\nLast line."
    left = without_lines(text, frozenset([line_hash(NOTICE)]))
    assert left == ("First line.\nSecond line.\n\nLast line.", 2)
    assert without_lines("One.\n\nTwo.\n", frozenset()) == ("One.\n\nTwo.\n", 0)


@given(st.lists(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 5)), max_size=8), max_size=4))
def test_the_smallest_id_keeps_a_line(parts: list[list[tuple[int, int]]]) -> None:
    """Pairs of a line's hash and a document's id; row numbers are positions."""
    arrays = [np.array([(hash_, id_, row) for row, (hash_, id_) in enumerate(part)], LINE) for part in parts]
    all_rows = [
        (hash_, id_, part, row) for part, rows in enumerate(parts) for row, (hash_, id_) in enumerate(rows)
    ]
    owners = {hash_: min(row for row in all_rows if row[0] == hash_) for hash_, *_ in all_rows}
    expected = sorted((part, row, h) for h, i, part, row in all_rows if owners[h] != (h, i, part, row))
    assert lost_lines(arrays).tolist() == expected


def documents() -> list[str]:
    """Stories of which many share lines; some are nothing but lines of others."""
    draw = random.Random(4)
    stories = [story(seed, 96).split("\n") for seed in range(60)]
    texts = []
    for number, lines in enumerate(stories):
        mixed = [*lines, NOTICE, *draw.sample(stories[draw.randrange(60)], draw.randrange(4))]
        draw.shuffle(mixed)
        texts.append(
            "\n".join(mixed if number % 10 else [*stories[(number + 1) % 60][:6], f"Tale {number}."])
        )
    return texts


def rows_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    columns = (
        ["id", "text", "bytes", "duplicate_lines"] if kind == "kept" else ["id", "text", "rule", "value"]
    )
    return [
        row
        for path in (folder / "parts" / "decide").glob(f"*.{kind}.parquet")
        for row in pq.read_table(path, columns=columns).to_pylist()
    ]


def test_a_corpus_says_every_line_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same from one file in one part as from three in several, in another order, in many shares."""
    texts = documents()
    for number in range(3):
        write_jsonl(tmp_path / f"{number}.jsonl", texts[number::3])
    files = [tmp_path / f"{number}.jsonl" for number in range(3)]
    lines = {"exact": False, "near": {"enabled": False}, "lines": {"enabled": True}}
    counts = prepare_here(prep_config(files, corpus={"dedup": lines}), tmp_path / "one")
    monkeypatch.setattr(steps, "LINES_PER_TASK", 40)
    other = prep_config(files[::-1], corpus={"dedup": lines, "part_bytes": 1})
    prepare_here(other, tmp_path / "other")
    assert len([*(tmp_path / "other" / "parts" / "owners").glob("*.json")]) > 5
    kept, rejected = rows_of(tmp_path / "one", "kept"), rows_of(tmp_path / "one", "rejected")
    for kind, rows in (("kept", kept), ("rejected", rejected)):
        assert sorted(rows, key=str) == sorted(rows_of(tmp_path / "other", kind), key=str)

    prepare_here(prep_config(files, corpus={"dedup": lines | {"lines": {}}}), tmp_path / "off")
    whole = list((tmp_path / "off" / "parts" / "decide").glob("*.kept.parquet"))
    before = {
        row["id"]: row["text"]
        for path in whole
        for row in pq.read_table(path, columns=["id", "text"]).to_pylist()
    }
    owner: dict[str, int] = {}
    for id_ in sorted(before):
        for line in before[id_].split("\n"):
            owner.setdefault(line.strip().lower(), id_)
    left: dict[int, list[str]] = {}
    for id_, text in before.items():
        own = [line for line in text.split("\n") if owner[line.strip().lower()] == id_]
        left[id_] = [*{line.lower(): line for line in reversed(own)}.values()][::-1]
    few = {id_ for id_, own in left.items() if len(own) < 3}  # every line of these stories is a sentence
    assert few
    assert {row["id"]: row["text"].split("\n") for row in kept} == {
        id_: own for id_, own in left.items() if id_ not in few
    }
    assert {row["id"]: (row["rule"], row["value"]) for row in rejected} == {
        id_: (REASON, float(len(left[id_]))) for id_ in few
    }
    for row in kept:
        assert row["bytes"] == len(row["text"].encode())
        assert row["duplicate_lines"] == before[row["id"]].count("\n") - row["text"].count("\n")
    assert counts["funnel"][-1]["step"] == "without repeated lines"
    assert counts["funnel"][-1]["bytes"] == sum(row["bytes"] for row in kept)
    assert counts["funnel"][-1]["removed"] == {REASON: len(few)}
