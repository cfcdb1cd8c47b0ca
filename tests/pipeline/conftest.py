"""An empty MLflow store, made once: making its tables takes seconds."""

import shutil
from pathlib import Path

import pytest

from pipeline.tracking import mlflow_sender
from pipeline.tracking.server import connect
from tests.pipeline.tracking.store import Store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def work(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work folder beside an empty SQLite store; batches are sent soon."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(mlflow_sender, "SEND_EVERY", 0.05)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    (tmp_path / "demo").mkdir()
    return tmp_path / "demo"


@pytest.fixture
def store(work: Path) -> Store:
    """What the store beside the work folder holds."""
    return Store(f"sqlite:///{work.parent / 'mlflow.db'}")
