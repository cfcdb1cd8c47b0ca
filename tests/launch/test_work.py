from pathlib import Path

import pytest

from launch.work import work_address, work_folder
from pipeline.config import PipelineConfig


@pytest.mark.parametrize(
    ("given", "folder", "address"),
    [
        (None, "runs/small", ""),
        ("runs/x", "runs/x", ""),
        ("/shared/x/", "/shared/x", ""),
        ("s3://bucket/some/where/", "runs/bucket-some-where", "s3://bucket/some/where"),
        ("gs://bucket", "runs/bucket", "gs://bucket"),
    ],
)
def test_work(given: str | None, folder: str, address: str) -> None:
    config = PipelineConfig.model_validate({"name": "small"})
    assert (work_folder(config, given), work_address(given)) == (Path(folder), address)
