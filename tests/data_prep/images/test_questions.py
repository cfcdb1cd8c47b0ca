"""Questions of tars as other people write them, and of easy-VQA where it lies beside the project."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from data_prep.contract.questions import Question
from data_prep.images.config import ImagesConfig
from data_prep.images.sources.items import Found, Input
from data_prep.images.sources.tars import read
from data_prep.sources.files import InputFile
from tests.data_prep.helpers import REAL_DATA
from tests.pictures import png

EASY = REAL_DATA / "easy_vqa" / "easy_test.tar.xz"


def found(path: Path) -> list[Found]:
    one = Input(InputFile(str(path), path.name, path.stat().st_size, 0))
    return [
        item for item in read(one, ImagesConfig(kind="webdataset", paths=["-"])) if isinstance(item, Found)
    ]


def test_each_way_to_write_them(tmp_path: Path) -> None:
    picture, asked = png(np.zeros((9, 9, 3), np.uint8)), [["is it?", "yes"]]
    members = {
        "a.json": asked,
        "b.json": {"questions": asked, "caption": "a thing"},
        "c.questions.json": [{"question": "is it?", "answer": "yes"}],
        "d.json": {"caption": "a thing"},
    }
    with tarfile.open(tmp_path / "one.tar", "w") as tar:
        for name, value in members.items():
            for member, content in ((f"{name[0]}.png", picture), (name, json.dumps(value).encode())):
                about = tarfile.TarInfo(member)
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))
    items = found(tmp_path / "one.tar")
    assert [item.questions for item in items] == [(Question("is it?", "yes"),)] * 3 + [()]
    assert [item.captions for item in items] == [(), ("a thing",), (), ("a thing",)]


@pytest.mark.skipif(not EASY.is_file(), reason=f"{EASY} is not there")
def test_easy_vqa() -> None:
    items = found(EASY)
    assert len(items) == 1000
    assert sum(len(item.questions) for item in items) == 9673
