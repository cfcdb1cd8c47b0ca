"""A whole preparation: what becomes of every picture, going on, making again, and the same bytes however it
is cut."""

import hashlib
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from data_prep.contract.pictures import ImageDataset
from data_prep.contract.pixels import as_rgb, opened
from data_prep.contract.settings import InputError
from data_prep.contract.shapes import caption, held_out_pairs, read
from data_prep.images.inspect import describe, lines
from data_prep.images.sheet import draw_sheet
from tests.data_prep.contract.test_pixels import animation, bomb
from tests.data_prep.helpers import Here
from tests.data_prep.images.made import packed, photograph, prepared, write


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of good pictures, and one of everything that the web holds."""
    folder = tmp_path_factory.mktemp("messy")
    for number in range(24):
        write(
            folder / f"{'cat' if number % 2 else 'dog'}/{number}.jpg", packed(photograph(number), quality=90)
        )
    write(folder / "dog/again.jpg", (folder / "dog/0.jpg").read_bytes())
    large = photograph(2, 80, 64)
    write(folder / "dog/larger.png", packed(large, "PNG"))
    write(folder / "cat/broken.jpg", (folder / "cat/1.jpg").read_bytes()[:300])
    write(folder / "cat/bomb.png", bomb(50_000, 50_000))
    write(folder / "cat/moves.gif", animation())
    write(folder / "cat/page.jpg", "<html>not found</html>")
    write(folder / "cat/long.png", packed(photograph(90, 200, 20), "PNG"))
    write(folder / "cat/tiny.png", packed(photograph(91, 5, 5), "PNG"))
    write(folder / "cat/ink.jpg", packed(photograph(92).convert("CMYK")))
    write(
        folder / "cat/deep.png",
        packed(Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40), "PNG"),
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    write(folder / "cat/turned.jpg", packed(photograph(93, 60, 40), exif=exif))
    write(folder / "cat/clear.png", packed(Image.new("RGBA", (30, 30), (255, 0, 0, 0)), "PNG"))
    write(folder / "notes.md", "no picture")
    return folder


def tree(folder: Path) -> dict[str, str]:
    """What a reader sees of a dataset: its files and their hashes."""
    names = [
        path for path in folder.rglob("*") if path.suffix in (".tar", ".npy") and "parts" not in path.parts
    ]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in names
    }


def test_every_picture_is_in_the_dataset_or_counted_under_a_reason(
    messy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = prepared(
        monkeypatch, tmp_path / "made", kind="classes", paths=[str(messy)], pixels={"size": 24}
    )
    dataset = ImageDataset(tmp_path / "made")
    told = describe(tmp_path / "made")
    reasons = {
        reason: about["pictures"] for part in ("failures", "rejected") for reason, about in told[part].items()
    }
    assert reasons == {
        "broken picture": 1,
        "too many pixels": 1,
        "animated": 1,
        "no picture of a known format": 1,
        "too small": 1,
        "too long or too tall": 1,
        "exact duplicate": 1,
        "near-duplicate": 1,
    }
    total = sum(dataset.split(name).total("samples") for name in dataset.manifest.splits)
    assert receipt.counts["input"]["files"] == 36 == total + sum(reasons.values())
    assert receipt.counts["input"]["read"] == receipt.counts["input"]["bytes"]
    assert receipt.counts["input"]["of_other_kinds"]["named"] == ["notes.md"]
    assert receipt.counts["funnel"][-1]["documents"] == total
    assert dataset.classes == ["cat", "dog"]
    assert dataset.manifest.fields == ["image", "label"]
    sources = pq.read_table(tmp_path / "made/documents.parquet")["source"].to_pylist()
    assert "dog/larger.png" in sources, "of nearly equal pictures the largest stays"
    assert "dog/2.jpg" not in sources
    assert {"cat/ink.jpg", "cat/deep.png", "cat/turned.jpg", "cat/clear.png"} <= set(sources)
    for split in dataset.manifest.splits:
        for row in range(len(dataset.rows(split))):
            assert as_rgb(opened(dataset.sample(split, row)[0], 1 << 20)).size == (24, 24)
    assert any("too many pixels" in line for line in lines(told))
    assert draw_sheet(dataset).width > 1000


def test_a_run_goes_on_from_its_parts_and_makes_again_what_is_missing(
    messy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about: dict[str, Any] = {"kind": "classes", "paths": [str(messy)]}
    folder = tmp_path / "made"
    first = prepared(monkeypatch, folder, **about)
    before = tree(folder)
    assert "pictures" in Here.done
    assert prepared(monkeypatch, folder, **about) == first
    assert not Here.done
    (folder / "train/shard-00000.tar").unlink()
    prepared(monkeypatch, folder, **about)
    assert set(Here.done) == {"tars"}
    assert tree(folder) == before
    changed = prepared(monkeypatch, folder, **about, rules={"least_side": 33})
    assert "pictures" not in Here.done, "other rules decode nothing anew"
    assert changed.fingerprint != first.fingerprint
    assert tree(folder) != before
    prepared(monkeypatch, folder, **about, pixels={"size": 16})
    assert "pictures" in Here.done
    assert ImageDataset(folder).manifest.pixels["size"] == 16


def test_the_dataset_does_not_depend_on_how_the_work_is_cut(
    messy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about: dict[str, Any] = {"kind": "classes", "paths": [str(messy)], "shard_bytes": 8_000}
    monkeypatch.setattr("data_prep.images.preparation.LEAST_PART", 1)
    prepared(monkeypatch, tmp_path / "whole", **about)
    prepared(monkeypatch, tmp_path / "cut", **about, part_bytes=1, workers=3)
    assert len(list((tmp_path / "cut/parts/pictures").glob("*.json"))) > 20
    assert tree(tmp_path / "whole") == tree(tmp_path / "cut")
    one, other = (ImageDataset(tmp_path / name).manifest for name in ("whole", "cut"))
    assert one.fingerprint == other.fingerprint
    assert len(one.splits["train"].shards) > 1


def test_shapes_are_true_to_their_captions_and_hold_pairs_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = {"count": 60, "validation": 12, "composition": 10}
    prepared(monkeypatch, tmp_path / "made", kind="shapes", shapes=shapes)
    dataset = ImageDataset(tmp_path / "made")
    assert dataset.manifest.fields == ["image", "caption", "label"]
    assert dataset.manifest.pixels["size"] == 32
    assert dataset.vocabulary.decode(dataset.vocabulary.encode("a red circle")) == "a red circle"
    tars = [str(path) for path in (tmp_path / "made/train").glob("*.tar")]
    unseen, counted = held_out_pairs(1), Counter[str]()
    for sample in webdataset.WebDataset(tars, shardshuffle=False).decode("rgb8"):
        scene = read(sample["png"])
        assert caption(scene) == sample["txt"] or len(scene.things) == 2
        assert not {thing.pair for thing in scene.things} & unseen
        counted["train"] += 1
    assert counted["train"] == dataset.split("train").total("samples") >= 55
    for row in range(len(dataset.rows("composition"))):
        picture = np.array(Image.open(io.BytesIO(dataset.sample("composition", row)[0])))
        assert {thing.pair for thing in read(picture).things} & unseen


def test_pictures_that_a_model_scores_low_are_rejected_with_their_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        write(tmp_path / f"in/{number}.png", packed(photograph(number), "PNG"))
        write(tmp_path / f"in/{number}.txt", f"picture number {number}")
    about: dict[str, Any] = {"kind": "captions", "paths": [str(tmp_path / "in")]}
    prepared(monkeypatch, tmp_path / "made", **about)
    told = pq.read_table(tmp_path / "made/documents.parquet").sort_by("id")
    scores = [0.1 if number < 3 else 0.3 for number in range(11)]
    pq.write_table(pa.table({"id": told["id"][:11], "score": scores}), tmp_path / "scores.parquet")
    rules = {"scores": [str(tmp_path / "scores.parquet")]}
    receipt = prepared(monkeypatch, tmp_path / "made", **about, rules=rules)
    assert receipt.counts["funnel"][1]["removed"] == {"low score": 3, "no score": 1}
    assert "pictures" not in Here.done
    with pytest.raises(InputError, match="is no Parquet file and no folder of any"):
        prepared(monkeypatch, tmp_path / "made", **about, rules={"scores": [str(tmp_path / "absent")]})


def test_validation_pictures_are_drawn_or_named_and_stay_where_train_has_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        write(tmp_path / f"in/a/{number}.png", packed(photograph(number), "PNG"))
    for number in (3, 20, 21):
        write(tmp_path / f"out/a/{number}.png", packed(photograph(number), "PNG"))
    about = {"kind": "classes", "paths": [str(tmp_path / "in")]}
    prepared(monkeypatch, tmp_path / "drawn", **about)
    drawn = ImageDataset(tmp_path / "drawn").manifest.splits
    assert [drawn[name].total("samples") > 0 for name in ("train", "validation")] == [True, True]
    prepared(monkeypatch, tmp_path / "named", **about, validation_paths=[str(tmp_path / "out")])
    named = ImageDataset(tmp_path / "named").manifest.splits
    assert [named[name].total("samples") for name in ("train", "validation")] == [11, 3]
    with pytest.raises(InputError, match="a file is in one of them"):
        prepared(monkeypatch, tmp_path / "both", **about, validation_paths=[str(tmp_path / "in/a/3.png")])
    with pytest.raises(InputError, match=r"no \.jpg or .* files in this folder"):
        prepared(monkeypatch, tmp_path / "none", kind="classes", paths=[str(tmp_path / "drawn/train")])
