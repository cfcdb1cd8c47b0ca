"""The experts' load as pictures, from a training's metrics."""

from pathlib import Path

from data_prep.contract.report import Heatmaps
from pipeline.reports.plots import heatmaps
from pipeline.stages.experts_load import load_of_experts
from pipeline.tracking import metrics


def test_shares_by_layer_and_validation_become_panels(tmp_path: Path) -> None:
    prefix = "validation_expert_share."
    for step, share in ((10, 0.5), (20, 0.75)):
        values = {f"{prefix}blocks.1.0": share, f"{prefix}blocks.1.1": 1 - share, f"{prefix}blocks.3.0": 1.0}
        metrics.write_line(tmp_path / metrics.METRICS, metrics.make_line(step - 5, {"loss": 1.0}))
        metrics.write_line(tmp_path / metrics.METRICS, metrics.make_line(step, values))
    [chart] = [part for part in load_of_experts(tmp_path) if isinstance(part, Heatmaps)]
    first, second = chart.panels
    assert first.rows == [[0.5, 0.75], [0.5, 0.25]]
    assert first.title == "blocks.1: 0.50 to 1.50 of the mean"
    assert second.rows == [[1.0, 1.0]]
    assert "step 10 to step 20" in chart.x_label
    assert len(heatmaps(chart).axes) == 2


def test_a_training_without_experts_has_none(tmp_path: Path) -> None:
    metrics.write_line(tmp_path / metrics.METRICS, metrics.make_line(1, {"validation_loss": 1.0}))
    assert load_of_experts(tmp_path) == []
