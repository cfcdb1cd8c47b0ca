"""The plan of deduplication: which parts find the duplicates among the documents that the rules keep."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.by_part import Places, rows_at
from data_prep.config import CorpusConfig
from data_prep.dedup import exact, line_parts, near
from data_prep.dedup.lines import LOST, REASON
from data_prep.filters.decide import DROP
from data_prep.filters.rules import TOO_SLOW
from data_prep.filters.tag import tag_settings
from data_prep.parts import Part, Work, plan
from data_prep.planning import Documents
from data_prep.storage import Storage

ROWS_PER_TASK = 5_000_000
"""Keys that one task holds in memory, about 200 MB."""
LINES_PER_TASK = 5_000_000
"""Lines that one task holds in memory, about 400 MB."""

Step = Callable[[Work, Iterable[Part]], list[Part]]


@dataclass(frozen=True)
class Duplicates:
    """What deduplication takes away."""

    drops: dict[str, Places]
    """Where the documents that go (DROP) are, by the reason for which they do."""
    lost: Places | None = None
    """Where the lines that the others lose (LOST) are; None where lines are not compared."""

    def of(self, part: int) -> dict[str, Any]:
        """Arguments that say where one part's rows are."""
        drops = {reason: places.of(part) for reason, places in self.drops.items()}
        return {"drops": drops, "lost": None if self.lost is None else self.lost.of(part)}

    def digest(self, part: int) -> str:
        """A hash of what one part loses: it is written anew where this changes, and only there."""
        state = hashlib.sha256()
        for reason, places in self.drops.items():
            rows = rows_at(places.here, places.of(part), DROP)
            state.update(reason.encode() + rows["row"].tobytes() + rows["kept"].tobytes())
        if self.lost is not None:
            rows = rows_at(self.lost.here, self.lost.of(part), LOST)
            state.update(rows["row"].tobytes() + rows["hash"].tobytes())
        return state.hexdigest()[:16]


def find_duplicates(
    step: Step, storage: Storage, documents: Sequence[Documents], corpus: CorpusConfig
) -> Duplicates:
    """Run the steps."""
    config = corpus.dedup
    files: dict[str, list[Path]] = {}
    if config.exact:
        files["exact duplicate"] = _exact(step, storage, documents)
    if config.near.enabled:
        files["near-duplicate"] = _near(
            step, storage, documents, files.get("exact duplicate", []), config.near.bands
        )
    found = Duplicates({reason: _places(storage, paths, DROP) for reason, paths in files.items()})
    return _lines(step, storage, documents, found, corpus) if config.lines.enabled else found


def _places(storage: Storage, paths: Sequence[Path], dtype: np.dtype[Any]) -> Places:
    storage.fetch(*paths)
    return Places(paths, dtype)


def _exact(step: Step, storage: Storage, documents: Sequence[Documents]) -> list[Path]:
    shares = 1 + _count(documents) // ROWS_PER_TASK
    arguments = {
        "keys": [part.tagged.path("keys.npy") for part in documents],
        "verdicts": [part.judged.path("verdicts.npy") for part in documents],
        "ids": [part.tagged.path("signals.parquet") for part in documents],
        "shares": shares,
    }
    wanted = [plan(storage, "exact", exact.VERSION, arguments | {"share": share}) for share in range(shares)]
    return [part.path("drops.npy") for part in step(exact.drop_equal, wanted)]


def _near(
    step: Step, storage: Storage, documents: Sequence[Documents], exact_drops: list[Path], bands: int
) -> list[Path]:
    together = max(1, min(bands, ROWS_PER_TASK // max(_count(documents), 1)))  # bands in one task
    shares = 1 + _count(documents) // ROWS_PER_TASK
    arguments = {
        "bands": [part.tagged.path("bands.npy") for part in documents],
        "rows": [part.tagged.path("rows.npy") for part in documents],
        "verdicts": [part.judged.path("verdicts.npy") for part in documents],
        "exact_drops": exact_drops,
        "shares": shares,
    }
    wanted = [
        plan(
            storage,
            "edges",
            near.VERSION,
            arguments | {"share": share, "band_numbers": [*range(first, min(first + together, bands))]},
        )
        for first in range(0, bands, together)
        for share in range(shares)
    ]
    edges = [part.path("edges.npy") for part in step(near.find_edges, wanted)]
    about = {
        "edges": edges,
        "signals": [part.tagged.path("signals.parquet") for part in documents],
        "keys": [part.tagged.path("keys.npy") for part in documents],
    }
    chosen = plan(storage, "components", near.VERSION, about)
    return [part.path("drops.npy") for part in step(near.choose, [chosen])]


def _count(documents: Sequence[Documents]) -> int:
    return sum(part.tagged.counts["documents"] for part in documents)


def _lines(
    step: Step, storage: Storage, documents: Sequence[Documents], found: Duplicates, corpus: CorpusConfig
) -> Duplicates:
    cleaning = {"c4_lines": tag_settings(corpus)[0].get("c4")}

    def of_parts(name: str, arguments: dict[str, Any], loses: Duplicates, given: set[str]) -> list[Part]:
        """A part for each, told where its rows are, of what is `given` to the work."""
        return [
            plan(
                storage,
                name,
                line_parts.VERSION,
                cleaning
                | arguments
                | {
                    "documents": part.collected.path("documents.parquet"),
                    "verdicts": part.judged.path("verdicts.npy"),
                },
                loses.digest(number),
                unnamed={"storage": storage, "part": number}
                | {key: value for key, value in loses.of(number).items() if key in given},
                sliced=["drops", "lost"],
            )
            for number, part in enumerate(documents)
        ]

    lines = step(line_parts.find_lines, of_parts("lines", {}, found, {"drops"}))
    slow = [part.path("slow.npy") for part in lines]
    found = Duplicates(found.drops | {TOO_SLOW: _places(storage, slow, DROP)})
    shares = min(line_parts.BUCKETS, 1 + sum(part.counts["lines"] for part in lines) // LINES_PER_TASK)
    arguments = {
        "lines": [part.path("lines.npy") for part in lines],
        "buckets": [part.path("buckets.npy") for part in lines],
        "shares": shares,
    }
    owners = step(
        line_parts.find_owners,
        [
            plan(
                storage,
                "owners",
                line_parts.VERSION,
                arguments | {"share": share},
                unnamed={"storage": storage},
                sliced=["lines"],
            )
            for share in range(shares)
        ],
    )
    lost = _places(storage, [part.path("lost.npy") for part in owners], LOST)
    least = {"min_sentences": corpus.dedup.lines.min_sentences}
    remains = step(
        line_parts.find_remains, of_parts("remains", least, Duplicates(found.drops, lost), {"drops", "lost"})
    )
    slow += [part.path("slow.npy") for part in remains]
    few = _places(storage, [part.path("drops.npy") for part in remains], DROP)
    return Duplicates(found.drops | {REASON: few, TOO_SLOW: _places(storage, slow, DROP)}, lost)
