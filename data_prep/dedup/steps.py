"""The plan of deduplication: which parts find the duplicates among the documents that the rules keep."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from data_prep.config import DedupConfig
from data_prep.dedup import exact, near
from data_prep.filters.decide import drops_of
from data_prep.parts import Part, Work, plan
from data_prep.planning import Documents
from data_prep.storage import Storage

ROWS_PER_TASK = 5_000_000
"""Keys that one task holds in memory, about 200 MB."""

Step = Callable[[Work, Iterable[Part]], list[Part]]


def drop_duplicates(
    step: Step, storage: Storage, documents: Sequence[Documents], config: DedupConfig
) -> dict[str, list[Path]]:
    """Run the steps; the files of duplicates (DROP) by the reason for which they go."""
    found: dict[str, list[Path]] = {}
    if config.exact:
        found["exact duplicate"] = _exact(step, storage, documents)
    if config.near.enabled:
        found["near-duplicate"] = _near(
            step, storage, documents, found.get("exact duplicate", []), config.near.bands
        )
    return found


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
    signals = [part.tagged.path("signals.parquet") for part in documents]
    chosen = plan(storage, "components", near.VERSION, {"edges": edges, "signals": signals})
    return [part.path("drops.npy") for part in step(near.choose, [chosen])]


def _count(documents: Sequence[Documents]) -> int:
    return sum(part.tagged.counts["documents"] for part in documents)


def digest_of_drops(drops: dict[str, list[Path]], part: int) -> str:
    """A hash of what is dropped of one part: the part is written anew where this changes, and only there."""
    state = hashlib.sha256()
    for reason, paths in drops.items():
        rows = drops_of(paths, part)
        state.update(reason.encode() + rows["row"].tobytes() + rows["kept"].tobytes())
    return state.hexdigest()[:16]
