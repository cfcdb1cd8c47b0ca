"""System metrics: sampled while a run lives, counted on after a restart, under the names MLflow knows."""

import time
from pathlib import Path

from pipeline.config import TrackingConfig
from pipeline.tracking import metrics
from pipeline.tracking.system import Machine, SystemSampler
from pipeline.tracking.tracker import Tracker
from tests.pipeline.tracking.servers import wait_for
from tests.pipeline.tracking.store import Store, once


def test_a_sample_says_what_the_machine_does(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    sample = machine.sample()
    assert 0 <= sample["cpu_utilization_percentage"] <= 100
    assert 0 < sample["system_memory_usage_percentage"] <= 100
    assert 1 < sample["process_memory_megabytes"] < sample["system_memory_usage_megabytes"] * 1.5
    held = bytearray(200_000_000)
    held[::4096] = b"x" * len(held[::4096])
    assert machine.sample()["process_memory_megabytes"] > sample["process_memory_megabytes"] + 100
    assert sample["disk_available_megabytes"] > 0


def test_samples_count_on_where_a_killed_process_stopped(tmp_path: Path) -> None:
    path = tmp_path / "system.jsonl"
    metrics.append(path, 0, {"system/cpu_utilization_percentage": 1.0})
    with path.open("a") as file:
        file.write('{"step": 1, "ti')
    sampler = SystemSampler(path, 0.02)
    sampler.start()
    deadline = time.time() + 600
    while len(metrics.read(path)) < 4 and time.time() < deadline:
        time.sleep(0.02)
    sampler.close()
    steps = [line["step"] for line in metrics.read(path)]
    assert len(steps) >= 4
    assert steps == list(range(len(steps)))


def test_mlflow_shows_them_as_system_metrics(work: Path, store: Store) -> None:
    for end in (1, 2):
        settings = TrackingConfig(system_every=0.02)
        run = Tracker(work / "pretrain", work, "pretrain", {}, settings)
        run.start_from(end - 1)
        run.log(end, {"loss": 1.0})
        wait_for(lambda: len(metrics.read(work / "pretrain" / "system.jsonl")) >= 3 * end)  # noqa: B023
        run.close()
    steps = store.steps("pretrain", "system/cpu_utilization_percentage")
    assert len(steps) > 4
    assert steps == once(range(len(steps)))
    assert store.steps("pretrain", "loss") == once(range(1, 3))


def test_none_are_taken_where_they_are_off(tmp_path: Path) -> None:
    sampler = SystemSampler(tmp_path / "system.jsonl", 0.0)
    sampler.start()
    time.sleep(0.05)
    assert not (tmp_path / "system.jsonl").exists()
