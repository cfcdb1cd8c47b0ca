"""Near-deduplication of real documents with planted edits, against brute force over all pairs."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_prep.config import NearDedupConfig
from data_prep.dedup import steps
from data_prep.dedup.minhash import MinHash
from data_prep.documents import Page, normalise
from data_prep.parts import Execute, Part, Work, do_part
from data_prep.sources import python_docs
from data_prep.storage import Storage
from tests.data_prep.dedup.test_near import edited, jaccard
from tests.data_prep.helpers import prep_config, prepare_in, write_jsonl

BANDS, ROWS = NearDedupConfig().bands, NearDedupConfig().rows


def real_documents(count: int) -> Iterator[str]:
    """Documentation of the standard library, in pieces of 80 to 300 words."""
    for file in python_docs.installed().files:
        for page in python_docs.read(file):
            if isinstance(page, Page) and isinstance(page.content, str):
                text = " ".join(normalise(page.content).split())
                if 80 <= len(text.split()) <= 300:
                    count -= 1
                    yield text
        if count <= 0:
            return


@pytest.fixture(scope="module")
def documents() -> list[str]:
    """Real ones and as many edited copies, some of them copies of copies."""
    draw = random.Random(3)
    texts = [*dict.fromkeys(real_documents(150))]
    for _ in range(len(texts)):
        original = draw.choice(texts)
        texts.append(edited(original, draw.randrange(1, 1 + len(original.split()) // 25), draw))
    return texts


def similar_pairs(texts: Sequence[str]) -> dict[tuple[int, int], float]:
    """All pairs with a similarity of at least 0.8, by brute force."""
    pairs = {(i, j): jaccard(texts[i], texts[j]) for j in range(len(texts)) for i in range(j)}
    return {pair: similarity for pair, similarity in pairs.items() if similarity >= 0.8}


def components_of(links: set[tuple[int, int]], count: int) -> list[set[int]]:
    """Connected components by search."""
    neighbours: dict[int, set[int]] = defaultdict(set)
    for one, other in links:
        neighbours[one].add(other)
        neighbours[other].add(one)
    found, seen = [], set[int]()
    for node in range(count):
        reached, waiting = set[int](), [node] * (node not in seen)
        while waiting:
            if (next_node := waiting.pop()) not in reached:
                reached.add(next_node)
                waiting += neighbours[next_node]
        seen |= reached
        found += [reached] * bool(reached)
    return found


def test_pairs_are_found_as_the_formula_says(documents: list[str]) -> None:
    """P = 1 - (1 - s^8)^14 for each pair of similarity s: at least 0.92 of all at 0.8 and above are found,
    and not fewer than the formula expects less three standard deviations."""
    minhash = MinHash(NearDedupConfig())
    bands = [minhash.bands(text) for text in documents]
    pairs = similar_pairs(documents)
    chances = np.array([1 - (1 - similarity**ROWS) ** BANDS for similarity in pairs.values()])
    found = sum(bool((bands[i] == bands[j]).any()) for i, j in pairs)
    assert len(pairs) > 100
    assert found >= 0.92 * len(pairs)
    assert found >= chances.sum() - 3 * (chances * (1 - chances)).sum() ** 0.5 - 1


def in_processes(pool: ProcessPoolExecutor) -> Execute:
    """Runs parts in the pool's processes; they end in any order."""

    def execute(step: str, work: Work, parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
        for task in as_completed([pool.submit(do_part, work, part) for part in parts]):
            yield task.result()

    return execute


def decided(folder: Path) -> tuple[dict[str, str], set[str]]:
    """Texts that went and for which they did, and those that stayed."""
    rows: dict[str, list[dict[str, Any]]] = {
        kind: [
            row
            for path in (folder / "parts" / "decide").glob(f"*.{kind}.parquet")
            for row in pq.read_table(path).to_pylist()
        ]
        for kind in ("kept", "rejected")
    }
    text_of = {row["id"]: row["text"] for row in rows["kept"] + rows["rejected"]}
    gone = {row["text"]: text_of[row["duplicate_of"]] for row in rows["rejected"]}
    assert {row["rule"] for row in rows["rejected"]} == {"near-duplicate"}
    return gone, {row["text"] for row in rows["kept"]}


def test_the_same_documents_go_with_any_workers_order_and_shares(
    documents: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those of the components of documents that share a band, all but the longest of each; with 1, 2
    and 4 workers, documents in another order and other files, and keys in one share or several."""
    shuffled = random.Random(1).sample(documents, len(documents))
    for name, texts in (("a", documents), ("b", shuffled)):
        (tmp_path / name).mkdir()
        for number in range(4):
            write_jsonl(tmp_path / name / f"{number}.jsonl", texts[number::4])
    results = []
    for workers, corpus, rows in ((1, "a", 10**6), (2, "b", 10**6), (4, "b", 100)):
        monkeypatch.setattr(steps, "ROWS_PER_TASK", rows)
        off = {"pii": False, "dedup": {"exact": False}, "part_bytes": 1 if workers > 1 else 10**9}
        config = prep_config([tmp_path / corpus], corpus=off)
        with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
            prepare_in(Storage(tmp_path / f"{workers}"), config, in_processes(pool))
        results.append(decided(tmp_path / f"{workers}"))
    assert len([*(tmp_path / "4" / "parts" / "edges").glob("*.json")]) > BANDS
    gone, kept = results[0]
    assert kept == results[1][1] == results[2][1]
    minhash = MinHash(NearDedupConfig())
    bands = [minhash.bands(text) for text in documents]
    links = {(i, j) for j in range(len(bands)) for i in range(j) if (bands[i] == bands[j]).any()}
    for component in components_of(links, len(documents)):
        members = {documents[node] for node in component}
        stays = members & kept
        assert len(stays) == 1
        assert len(*stays) == max(map(len, members))
        assert {gone[text] for text in members - kept} <= stays
    pairs = similar_pairs(documents)
    best = {text: gone.get(text, text) for text in documents}
    assert np.mean([best[documents[i]] == best[documents[j]] for i, j in pairs]) >= 0.92
