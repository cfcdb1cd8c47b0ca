"""Fixtures for every test, and which tests share a process when several run side by side.

pytest-xdist gives a group of tests to one process. A module is a group, since its tests share its fixtures.
Modules that stand in one another's way name the group that they are in by `xdist_group`: `ray`, clusters of
Ray that are started as a user would, and `hosts`, whose many processes want a machine's cores for themselves.
"""

from pathlib import Path

import pytest

from tests.pipeline import tiny


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests that name no group into that of their module."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.location[0]))


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
