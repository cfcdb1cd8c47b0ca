"""One exact sequence of pictures, whatever computes it: ranks, workers, stopping and going on."""

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_prep.contract.pictures import ImageDataset
from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig, ViewConfig
from pipeline.data.images.maker import ImageBatchMaker
from pipeline.data.images.stream import ImageStream
from pipeline.objectives.batches import Batch
from pipeline.objectives.pictures import ImageSamples
from tests.pictures import write_pictures
from tests.pipeline import tiny

GLOBAL_BATCH, TRAIN, OTHER, VALIDATION = 8, 75, 30, 13
VIEW = {"size": 16, "crop": "random_resized", "randaugment": {"layers": 2}, "erase": 0.5, "scale": [0.3, 1.0]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    return [
        write_pictures(folder / "own", TRAIN, VALIDATION, seed=1),
        write_pictures(folder / "other", OTHER, 2, seed=2, shards=1),
    ]


def config(folders: list[Path], micro_batch: int, steps: int = 10) -> PipelineConfig:
    return tiny.config(
        train={
            "global_batch": GLOBAL_BATCH,
            "micro_batch": micro_batch,
            "steps": steps,
            "validation_samples": 12,
        },
        data={
            "shuffle_window": 40,
            "view": VIEW,
            "mixture": [{"dataset": str(folders[1]), "weight": 0.5}],
        },
    )


def plain(samples: ImageSamples) -> Batch:
    captions = np.array([[len(text), *text.encode()[:40].ljust(40)] for text in samples.captions])
    return {
        "pixels": samples.pixels,
        "labels": samples.labels,
        "ids": samples.ids,
        "keys": samples.keys,
        "captions": captions,
        "weights": samples.real.astype(np.float32),
    }


def makers(folders: list[Path], size: int, micro_batch: int) -> list[ImageBatchMaker]:
    wanted = config(folders, micro_batch)
    return [ImageBatchMaker(wanted, str(folders[0]), rank, size, plain) for rank in range(size)]


def global_batch(ranks: list[ImageBatchMaker], step: int) -> Batch:
    """The batch of a step in the order of its samples: micro batch m of rank r is number m x W + r."""
    each = [maker.step(step) for maker in ranks]
    rows = [micro for number in range(len(each[0])) for micro in (batches[number] for batches in each)]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


@given(st.data())
@settings(max_examples=12, deadline=None)
def test_the_pictures_of_a_step_do_not_depend_on_ranks_micro_batches_or_what_was_read(
    folders: list[Path], data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, 40), label="step")
    wanted = global_batch(makers(folders, 1, GLOBAL_BATCH), step)
    size = data.draw(st.sampled_from((1, 2, 4)), label="data-parallel size")
    micro_batch = data.draw(st.sampled_from([one for one in (1, 2, 4, 8) if one * size <= GLOBAL_BATCH]))
    ranks = makers(folders, size, micro_batch)
    for before in data.draw(st.lists(st.integers(0, 40), max_size=2), label="read before"):
        global_batch(ranks, before)
    found = global_batch(ranks, step)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_a_run_that_goes_on_with_other_ranks_reads_every_picture_once_an_epoch(folders: list[Path]) -> None:
    mixed = config(folders, 1)
    alone = mixed.model_copy(update={"data": mixed.data.model_copy(update={"mixture": []})})
    seen: list[int] = []
    for step in range(3 * TRAIN // GLOBAL_BATCH + 1):
        size = (1, 2, 4)[step % 3]  # as if it were stopped after every step
        ranks = [ImageBatchMaker(alone, str(folders[0]), rank, size, plain) for rank in range(size)]
        seen += global_batch(ranks, step)["ids"].tolist()
    ids = sorted(ImageDataset(folders[0]).rows("train")["id"].tolist())
    for epoch in range(3):
        assert sorted(seen[epoch * TRAIN : (epoch + 1) * TRAIN]) == ids
    assert seen[:TRAIN] != seen[TRAIN : 2 * TRAIN]


def test_a_mixture_gives_each_dataset_its_share(folders: list[Path]) -> None:
    own = set(ImageDataset(folders[0]).rows("train")["id"].tolist())
    [maker] = makers(folders, 1, GLOBAL_BATCH)
    found = [number in own for step in range(30) for number in maker.step(step)[0]["ids"].tolist()]
    assert sum(found) == pytest.approx(30 * GLOBAL_BATCH * 2 / 3, abs=1)


def test_validation_has_the_same_pictures_for_every_rank_and_draws_nothing(folders: list[Path]) -> None:
    whole = [batch for maker in makers(folders, 1, 4) for batch in maker.validation()]
    shared = [batch for maker in makers(folders, 2, 4) for batch in maker.validation()]

    def ids(batches: list[Batch]) -> list[int]:
        return sorted(int(one) for batch in batches for one in batch["ids"][batch["weights"] > 0])

    assert ids(whole) == ids(shared)
    assert len(set(ids(whole))) == 12
    again = [batch for maker in makers(folders, 1, 4) for batch in maker.validation()]
    np.testing.assert_array_equal(whole[0]["pixels"], again[0]["pixels"])


def test_stored_pictures_come_as_they_were_written(folders: list[Path]) -> None:
    dataset = ImageDataset(folders[0])
    stream = ImageStream(dataset, "train", ViewConfig(), 32, seed=3)
    found = stream.stored(5, 9)
    for number, row in enumerate(range(5, 9)):
        data, captions = dataset.sample("train", row)
        np.testing.assert_array_equal(found.pixels[number], np.array(Image.open(io.BytesIO(data))))
        assert found.captions[number] == captions[0]
    assert not found.train
    assert len(ImageStream(dataset, "train", ViewConfig(), 32, seed=3)) == TRAIN


def test_epochs_draw_other_crops_and_one_of_the_captions(folders: list[Path]) -> None:
    stream = ImageStream(ImageDataset(folders[0]), "train", ViewConfig(), 16, seed=3)
    first, second = (stream.samples(np.arange(TRAIN) + epoch * TRAIN) for epoch in (0, 1))
    assert sorted(first.ids) == sorted(second.ids)
    assert list(first.ids) != list(second.ids)
    where = {int(one): place for place, one in enumerate(second.ids)}
    pairs = [(place, where[int(one)]) for place, one in enumerate(first.ids)]
    assert sum(np.array_equal(first.pixels[one], second.pixels[other]) for one, other in pairs) < TRAIN / 2
    assert any(first.captions[one] != second.captions[other] for one, other in pairs)


def damaged(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    row = ImageDataset(target).rows("train")[7]
    path = target / "train/shard-00000.tar"
    content = bytearray(path.read_bytes())
    content[int(row["image_offset"]) + 60] ^= 255
    path.write_bytes(content)
    return target


def test_a_corrupt_picture_ends_the_run_or_is_left_out_with_no_weight(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = ImageDataset(damaged(folders[0], tmp_path / "damaged"))
    with pytest.raises(InputError, match=r"shard-00000\.tar: the picture at byte \d+ is corrupt"):
        ImageStream(dataset, "train", ViewConfig(), 16, seed=3).stored(7, 8)
    stream = ImageStream(dataset, "train", ViewConfig(), 16, seed=3, skip_corrupt=True)
    found = stream.stored(6, 9)
    assert found.real.tolist() == [True, False, True]
    assert "left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text.replace('"width"', '"breadth"'), None),
        (lambda text: text.replace('"form": "pictures"', '"form": "sounds"'), "not a manifest of pictures"),
        (lambda text: text.replace('"samples": 38', '"samples": 39'), "does not fit the manifest's shards"),
        (lambda text: text.replace("train/shard-00000", "../shard-00000"), "no plain relative name"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 9'), "schema_version is 9"),
    ],
)
def test_a_manifest_that_does_not_fit_is_one_sentence(
    folders: list[Path], tmp_path: Path, change: Any, sentence: str | None
) -> None:
    folder = shutil.copytree(folders[0], tmp_path / "changed")
    manifest = folder / "manifest.json"
    manifest.write_text(change(manifest.read_text()))
    if sentence is None:
        assert len(ImageDataset(folder).rows("train")) == TRAIN
        return
    with pytest.raises(InputError, match=sentence):
        ImageDataset(folder).rows("train")
