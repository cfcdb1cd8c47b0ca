"""Fixtures for every test."""

from pathlib import Path

import pytest

from tests.pipeline import tiny


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished dataset: 400 made-up training documents, 60 for validation. Read only."""
    folder = tmp_path_factory.mktemp("tiny") / "dataset"
    documents = {
        "train": [" ".join(tiny.sentences(4, seed)) for seed in range(400)],
        "validation": [" ".join(tiny.sentences(4, seed)) for seed in range(1000, 1060)],
    }
    tiny.dataset(folder, documents)
    return folder
