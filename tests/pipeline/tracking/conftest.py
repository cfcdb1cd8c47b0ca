"""Trackers that wait for a busy machine."""

import pytest

from pipeline.tracking.tracker import Tracker


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending what is left may take ten minutes; a user's run ends after half a minute."""
    monkeypatch.setattr(Tracker.close, "__defaults__", ("FINISHED", 600.0))
