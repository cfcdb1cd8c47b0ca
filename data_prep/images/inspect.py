"""What a finished dataset of pictures holds, for `bloomery inspect DATASET`."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from data_prep.account import input_lines
from data_prep.contract.names import printable
from data_prep.contract.pictures import ImageDataset
from data_prep.contract.receipt import read_receipt
from data_prep.funnel import funnel_lines
from data_prep.parts import FOLDER

MOST_CLASSES = 12


def describe(folder: Path, examples: int = 3) -> dict[str, Any]:
    """A dataset of pictures in plain values. Raises `InputError` where the folder is none."""
    dataset = ImageDataset(folder)
    manifest = dataset.manifest
    splits = {}
    for name, split in manifest.splits.items():
        rows = dataset.rows(name)
        splits[name] = {
            "samples": len(rows),
            "shards": len(split.shards),
            "bytes": split.total("bytes"),
            "sides": [int(side) for side in _sides(rows)],
            "classes": _classes(rows, manifest.classes),
        }
    return {
        "kind": "pictures",
        "folder": str(folder),
        "complete": read_receipt(folder) is not None,
        "fingerprint": manifest.fingerprint,
        "fields": manifest.fields,
        "classes": len(manifest.classes),
        "vocabulary_size": manifest.vocabulary_size,
        "pixels": manifest.pixels,
        "splits": splits,
        "input": manifest.about.get("input", {}),
        "funnel": manifest.about.get("funnel", []),
        "failures": _by(folder, "pictures", ".failures.parquet", "reason", examples),
        "rejected": _by(folder, "chosen", ".rejected.parquet", "rule", examples),
    }


def _sides(rows: Any) -> tuple[int, int]:
    """The smallest and the largest side of a stored picture, in pixels."""
    if not len(rows):
        return 0, 0
    smallest = min(int(rows["width"].min()), int(rows["height"].min()))
    return smallest, max(int(rows["width"].max()), int(rows["height"].max()))


def _classes(rows: Any, names: list[str]) -> dict[str, int]:
    counts = np.bincount(rows["label"][rows["label"] >= 0], minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def _by(folder: Path, step: str, suffix: str, column: str, examples: int) -> dict[str, dict[str, Any]]:
    """Pictures and the first examples by why they are not in the dataset, the commonest reason first."""
    counts: Counter[str] = Counter()
    shown: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((folder / FOLDER / step).glob(f"*{suffix}")):
        for row in pq.read_table(path).to_pylist():
            counts[row[column]] += 1
            if len(shown.setdefault(row[column], [])) < examples:
                shown[row[column]].append(row)
    return {reason: {"pictures": count, "examples": shown[reason]} for reason, count in counts.most_common()}


def lines(told: Mapping[str, Any], width: int = 110) -> list[str]:
    """What `describe` found, for people."""
    state = "" if told["complete"] else "  (not finished)"
    found = [f"pictures {told['folder']}  {told['fingerprint']}{state}"]
    words = {
        "caption": f"captions ({told['vocabulary_size']:,} pieces)",
        "label": f"{told['classes']:,} classes",
    }
    found.append(
        "  with " + " and ".join(words.get(name, name) for name in told["fields"] if name != "image")
    )
    if told["fields"] == ["image"]:
        found[-1] = "  without captions or classes"
    for name, split in told["splits"].items():
        low, high = split["sides"]
        found.append(
            f"  {name:<12} {split['samples']:>12,} pictures {split['shards']:>6,} shards "
            f"{split['bytes'] / 1e6:>12,.2f} MB   sides of {low} to {high} pixels"
        )
        if split["classes"]:
            some = [f"{label} {count:,}" for label, count in list(split["classes"].items())[:MOST_CLASSES]]
            more = ", ..." if len(split["classes"]) > MOST_CLASSES else ""
            found.append(f"      {printable(', '.join(some))}{more}")
    pixels = ", ".join(f"{name} {value}" for name, value in told["pixels"].items())
    found.append(f"  pixels: {pixels}")
    found += input_lines(told["input"]) if told["input"] else []
    found += funnel_lines(told["funnel"])
    for title, part in (("gave no picture", "failures"), ("rejected", "rejected")):
        total = sum(about["pictures"] for about in told[part].values())
        found += [f"{title}: {total:,}"] if total else []
        for name, about in told[part].items():
            found.append(f"  {name:<38} {about['pictures']:>12,} {about['pictures'] / total:>8.2%}")
            found += [f"      {printable(_example(row))}"[:width] for row in about["examples"]]
    return found


def _example(row: Mapping[str, Any]) -> str:
    words = [row["url"] or row["source"]]
    if row.get("duplicate_of") is not None:
        words.append(f"of {row['duplicate_of']:016x}")
    elif row.get("value"):
        words.append(f"value {row['value']:.4g}")
    return "  ".join([*words, row.get("detail") or ""]).rstrip()
