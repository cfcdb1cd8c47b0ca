"""The pure parts: hashes, duplicates, rules, the stored picture, and what each source reads."""

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageEnhance
from scipy.fft import dctn

from data_prep.account import Account
from data_prep.contract.settings import InputError
from data_prep.documents import Failure
from data_prep.images.collect import read_all
from data_prep.images.config import ImagesConfig, PictureRules, PixelsConfig
from data_prep.images.duplicates import NODE, alike, all_but_the_best, masks
from data_prep.images.handling import stored
from data_prep.images.hashes import grey_levels, perceptual_hash, signal
from data_prep.images.preparation import class_order
from data_prep.images.rules import Facts, cleaned, fits, fitting, judge
from data_prep.images.sources import inputs
from data_prep.images.sources.items import Found
from tests.data_prep.helpers import real_data
from tests.data_prep.images.made import packed, photograph, write


def test_the_perceptual_hash_is_that_of_a_cosine_transform() -> None:
    grey = grey_levels(photograph(1))
    low = dctn(grey, norm="ortho")[:8, :8]
    wanted = np.packbits((low > np.median(low)).ravel()).tobytes()
    assert perceptual_hash(grey) == int.from_bytes(wanted, "little")


def test_copies_are_near_and_other_pictures_are_not() -> None:
    original = photograph(1, 120, 90)
    copies = [
        original.resize((60, 45)),
        Image.open(io.BytesIO(packed(original, quality=40))),
        ImageEnhance.Brightness(original).enhance(1.03),
    ]
    others = [photograph(seed, 120, 90) for seed in range(2, 20)]
    about = signal(original, 0, False, 1)

    def near(image: Image.Image) -> bool:
        other = signal(image.convert("RGB"), 1, False, 1)
        bits = int(np.bitwise_count(about["perceptual"] ^ other["perceptual"]))
        return bits <= 4 and bool(alike(about["colours"][None], other["colours"][None], 10, 0.985)[0])

    assert all(map(near, copies))
    assert not any(map(near, others))
    assert not near(Image.merge("RGB", original.split()[::-1])), "colours count, too"
    assert signal(Image.new("RGB", (9, 9), (7, 7, 7)), 0, False, 1)["flat"]


@pytest.mark.parametrize(("count", "distance"), [(10, 0), (1000, 4), (10**7, 4), (10**6, 8)])
def test_hashes_within_the_distance_agree_under_some_choice_of_bits(count: int, distance: int) -> None:
    chosen = np.array(masks(count, distance), np.uint64)
    draw = np.random.default_rng(0)
    for _ in range(200):
        places = draw.choice(64, distance, replace=False)
        difference = np.uint64(sum(1 << int(place) for place in places))
        assert (difference & chosen == 0).any()
    assert min(int(mask).bit_count() for mask in chosen.tolist()) >= 64 // (distance + 1)


def test_of_a_group_the_held_out_stays_then_the_largest_then_the_least_id() -> None:
    rows = np.zeros(6, NODE)
    rows["node"] = np.arange(6)
    rows["signal"]["id"] = [9, 8, 7, 6, 5, 4]
    rows["signal"]["pixels"] = [100, 400, 400, 900, 100, 100]
    rows["signal"]["held_out"] = [False, False, False, False, True, False]
    drops = all_but_the_best(rows, np.array([0, 0, 0, 1, 1, 2]))
    assert drops[["row", "kept"]].tolist() == [(0, 7), (1, 7), (3, 5)]


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("A dog on a beach", True),
        ("犬が砂浜にいる", True),
        ("DSC_00012345.JPG", False),
        ("", False),
        ("x" * 2001, False),
        ("word " * 301, False),
    ],
)
def test_captions_that_say_something_stay(caption: str, wanted: bool) -> None:
    assert fits(cleaned(caption), PictureRules()) == wanted


def test_the_first_rule_that_is_broken_rejects() -> None:
    rules = PictureRules(most_side=100)

    def broken(
        width: int, height: int, captions: tuple[str, ...] = (), had: bool = False, label: str = ""
    ) -> Any:
        return judge(Facts(width, height, captions, had, label), rules, ["caption"] if had else [])

    assert broken(20, 20) is None
    assert broken(7, 20) == (2, 7.0)
    assert broken(20, 120) == (3, 120.0)
    assert broken(12, 72) == (4, 6.0)
    assert broken(20, 20, (), had=True) == (5, 0.0)
    assert judge(Facts(20, 20, (), False, ""), rules, ["label"]) == (1, 0.0)
    assert fitting(["a cat", "a cat", "IMG_1234.jpg", "a logo"], rules, {"a logo"}) == ["a cat"]


@pytest.mark.parametrize(
    ("settings", "size", "suffix"),
    [
        ({}, (40, 32), "jpg"),
        ({"size": 16}, (16, 16), "jpg"),
        ({"size": 16, "fit": "short_side"}, (20, 16), "jpg"),
        ({"size": 64, "fit": "short_side"}, (40, 32), "jpg"),
        ({"size": 64, "fit": "pad", "format": "png"}, (64, 64), "png"),
        ({"size": 16, "fit": "squash", "format": "webp"}, (16, 16), "webp"),
    ],
)
def test_pictures_are_stored_as_asked(settings: dict[str, Any], size: tuple[int, int], suffix: str) -> None:
    data = packed(photograph(1))
    made = stored(data, PixelsConfig.model_validate(settings))
    found = Image.open(io.BytesIO(made.data))
    assert (found.size, made.suffix) == (size, suffix)
    assert (made.data == data) == (size == (40, 32) and suffix == "jpg")
    assert (made.width, made.height) == (40, 32)
    if settings.get("fit") == "pad":
        assert np.array(found)[0].max() == 0


def test_what_is_noted_in_a_picture_is_not_stored() -> None:
    exif = Image.Exif()
    exif[0x010F] = "camera of somebody"
    data = packed(photograph(1), exif=exif)
    made = stored(data, PixelsConfig())
    assert b"somebody" in data
    assert b"somebody" not in made.data


def test_classes_are_ordered_as_given_by_value_or_by_name() -> None:
    from collections import Counter

    assert class_order(Counter({"10": 1, "9": 1, "0": 2}), []) == ["0", "9", "10"]
    assert class_order(Counter({"b": 1, "a": 1}), []) == ["a", "b"]
    assert class_order(Counter({"b": 1}), ["z", "b"]) == ["z", "b"]


def found_in(kind: str, path: Path, **more: Any) -> tuple[list[Found], dict[str, int]]:
    """The pictures that a source yields, and how many it yields none for, by reason."""
    config = ImagesConfig.model_validate({"kind": kind, "paths": [str(path)], **more})
    account, pictures, failures = Account(), [], dict[str, int]()
    for _, item in read_all(inputs(config, 1), config, account):
        if isinstance(item, Failure):
            failures[item.reason] = failures.get(item.reason, 0) + 1
        else:
            pictures.append(item)
    assert not account.unread or failures
    return pictures, failures | dict(account.passed)


def member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def test_tars_as_img2dataset_and_open_clip_write_them(tmp_path: Path) -> None:
    data = [packed(photograph(number)) for number in range(4)]
    with tarfile.open(tmp_path / "00000.tar", "w") as tar:
        member(tar, "000000000.jpg", data[0])
        member(tar, "000000000.txt", b"a first caption")
        about = {
            "caption": "a first caption",
            "url": "http://x.test/0",
            "key": "000000000",
            "status": "success",
        }
        member(tar, "000000000.json", json.dumps(about).encode())
        member(tar, "a/b.0.json", json.dumps({"caption": ["one", "two"], "label": 1}).encode())
        member(tar, "a/b.jpg", data[1])
        member(tar, "a/b.cls", b"0")
        member(tar, "c.txt", b"no picture")
        member(tar, "d.PNG", data[2])
        member(tar, "d.seg.png", data[3])
    found, others = found_in("webdataset", tmp_path, class_names=["cat", "dog"])
    assert [(one.data, one.captions, one.label, one.url) for one in found] == [
        (data[0], ("a first caption",), "", "http://x.test/0"),
        (data[1], (), "cat", ""),
        (data[2], (), "", ""),
    ]
    assert others == {"sample without a picture": 1}
    cut = tmp_path / "cut"
    write(cut / "0.tar", (tmp_path / "00000.tar").read_bytes()[:1500])
    assert found_in("webdataset", cut)[1]["damaged file"] == 1


def test_rows_of_parquet_with_bytes_or_structs(tmp_path: Path) -> None:
    data = [packed(photograph(number)) for number in range(3)]
    table = pa.table(
        {
            "image": [{"bytes": data[0], "path": "x.jpg"}, {"bytes": data[1], "path": None}, None],
            "caption": [["one", "two"], [], ["three"]],
            "label": [1, 0, 1],
        }
    )
    told = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(told)})
    pq.write_table(table, tmp_path / "0.parquet")
    found, others = found_in("parquet", tmp_path)
    assert [(one.data, one.captions, one.label) for one in found] == [
        (data[0], ("one", "two"), "dog"),
        (data[1], (), "cat"),
    ]
    assert others == {"row has no bytes under 'image'": 1}
    pq.write_table(pa.table({"jpg": data, "text": ["a", "b", "c"]}), tmp_path / "0.parquet")
    found, _ = found_in("parquet", tmp_path, image_field="jpg", caption_field="text")
    assert [one.captions for one in found] == [("a",), ("b",), ("c",)]


def test_lines_with_paths_base64_and_addresses_of_data(tmp_path: Path) -> None:
    data = packed(photograph(1), "PNG")
    write(tmp_path / "in/pictures/1.png", data)
    write(tmp_path / "secret.png", data)
    packed_data = base64.b64encode(data).decode()
    rows: list[Any] = [
        {"image": "pictures/1.png", "caption": "a path", "label": "x"},
        {"image": packed_data, "caption": ["base64", "again"]},
        {"image": f"data:image/png;base64,{packed_data}"},
        {"image": "../secret.png"},
        {"image": "/etc/passwd"},
        {"caption": "none"},
        [1],
    ]
    text = "".join(f"{json.dumps(row)}\n" for row in rows) + "{broken\n"
    write(tmp_path / "in/pictures.jsonl", text)
    found, others = found_in("jsonl", tmp_path / "in")
    assert [(one.data == data, one.captions, one.label) for one in found] == [
        (True, ("a path",), "x"),
        (True, ("base64", "again"), ""),
        (True, (), ""),
    ]
    assert others == {
        "neither a file below the folder nor base64": 2,
        "line has no picture under 'image'": 2,
        "line is not JSON": 1,
    }


def test_folders_of_classes_and_of_captions(tmp_path: Path) -> None:
    data = packed(photograph(1))
    write(tmp_path / "a/cat/1.jpg", data)
    write(tmp_path / "a/train/dog/2.JPEG", data)
    found, _ = found_in("classes", tmp_path / "a")
    assert [(one.source, one.label) for one in found] == [("cat/1.jpg", "cat"), ("train/dog/2.JPEG", "dog")]
    write(tmp_path / "b/1.jpg", data)
    write(tmp_path / "b/1.txt", "one caption\n\nanother\n")
    write(tmp_path / "b/2.jpg", data)
    found, others = found_in("captions", tmp_path / "b")
    assert [one.captions for one in found] == [("one caption", "another"), ()]
    assert not others
    assert found_in("classes", tmp_path / "a", pixels={"most_bytes": 100})[1] == {"too many bytes": 2}


def test_names_of_classes_that_are_too_few_are_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "3/1.jpg", packed(photograph(1)))
    with pytest.raises(InputError, match="a class 3, and 2 names are given"):
        found_in("classes", tmp_path, class_names=["a", "b"])


def test_idx_files_with_their_labels(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    header = bytes((0, 0, 8, 3)) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    write(tmp_path / "t-images-idx3-ubyte", header + values.tobytes())
    write(tmp_path / "t-labels-idx1-ubyte", bytes((0, 0, 8, 1, 0, 0, 0, 2, 7, 3)))
    found, _ = found_in("idx", tmp_path)
    assert [one.label for one in found] == ["7", "3"]
    for one, wanted in zip(found, values, strict=True):
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(one.data)))[..., 1], wanted)
    write(tmp_path / "t-images-idx3-ubyte", header + values.tobytes()[:-1])
    found, others = found_in("idx", tmp_path)
    assert (len(found), others) == (1, {"damaged file": 1})


def test_pictures_of_a_real_crawl_have_the_texts_of_its_pages() -> None:
    found, others = found_in("warc", real_data("real_warcs/ukwa_wikipedia-mona-lisa.warc.gz"))
    assert found
    assert any(one.captions for one in found)
    assert all(one.url.startswith("http") for one in found)
    assert others["record of type request"]
