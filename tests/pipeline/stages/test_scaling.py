"""The stage that fits a study's runs: forecast, then compared; runs that no law describes are told.

The runs are folders with losses of a known law, so that nothing is trained.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.receipt import read_receipt
from data_prep.contract.settings import InputError
from data_prep.contract.stages import Source, Stage
from pipeline.config import DataConfig, ModelConfig, ObjectiveConfig, StudyConfig, TrainConfig
from pipeline.scaling import hoffmann
from pipeline.scaling.forms import FORMS, Request
from pipeline.scaling.grid import Base, grid
from pipeline.scaling.table import read_table
from pipeline.stages.scaling import RUNS, Scaling, ScalingConfig
from tests.pipeline.scaling.folders import finished_run, grid_of_runs
from tests.pipeline.scaling.test_hoffmann import FEW

STUDY = {
    "sizes": ["1x16", "1x32", "2x48", "3x80", "4x128"],
    "budgets": [3e10, 6e10, 1.2e11, 2.4e11],
    "tokens_per_parameter": [0.3, 100],
    "largest": [{"size": "3x96", "budget": 1e12}],
    "batch": 8,
    "head_size": 16,
    "repeats": 1,
}


@pytest.fixture(autouse=True)
def few_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hoffmann, "grid", lambda: FEW)


@pytest.fixture(scope="module")
def base(tiny_dataset: Path) -> Base:
    study, model = StudyConfig.model_validate(STUDY), ModelConfig(positions="rope")
    return Base(study, model, ObjectiveConfig(), DataConfig(sequence_length=32), TrainConfig(), 200, 7)


@pytest.fixture(scope="module")
def study(base: Base, tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with the runs of a study, its forecast and its laws."""
    work = tmp_path_factory.mktemp("study")
    names = grid_of_runs(work, base, tiny_dataset / TOKENIZER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hoffmann, "grid", lambda: FEW)
        wanted = {one.name: dict(one.columns) for one in grid(base) if one.held_out}
        compute(work, "forecast", names[:-1], predict=wanted)
        compute(work, "law", names, forecast="forecast")
    return work


def compute(work: Path, name: str, runs: list[str], forecast: str = "", **settings: Any) -> dict[str, Any]:
    inputs = {"of": tuple(Source(one, str(work / one), one) for one in runs)}
    if forecast:
        inputs["forecast"] = (Source(forecast, str(work / forecast), forecast),)
    config = ScalingConfig.model_validate({"resamples": 20} | settings)
    stage = Stage(name, "scaling", "mine", 0, work, {}, config, inputs)
    return Scaling().run(stage, lambda line: None).counts


def test_the_table_has_the_columns_that_others_fit(study: Path, base: Base) -> None:
    with (study / "law" / RUNS).open() as file:
        rows = list(csv.DictReader(file))
    cells = grid(base)
    assert [row["run"] for row in rows] == [one.name for one in cells]
    for row, cell in zip(rows, cells, strict=True):
        assert (int(row["parameters"]), int(row["tokens"])) == (cell.parameters, cell.tokens)
        assert float(row["flops"]) == pytest.approx(cell.flops, rel=1e-12)
    assert FORMS["hoffmann"].fit(read_table(study / "law" / RUNS), Request([], 20, 0)).runs == len(cells)


def test_the_largest_is_predicted_and_then_compared(study: Path) -> None:
    forecast, law = (json.loads((study / name / "scaling.json").read_text()) for name in ("forecast", "law"))
    assert {one["run"] for one in forecast["forecasts"]} == {"3x96-1e12"}
    tied = next(one for one in law["compared"] if one["law"] == "Hoffmann, alpha = beta")
    assert tied["loss"] == forecast["forecasts"][0]["loss"], "what was written first is what is compared"
    assert abs(tied["error"]) < 0.02
    assert tied["inside"]
    assert not tied["before"], "these runs were there before the forecast, which is not concealed"


def test_every_form_finds_a_law(study: Path) -> None:
    laws = {one["form"]: one for one in json.loads((study / "law" / "scaling.json").read_text())["laws"]}
    assert set(laws) == {"hoffmann", "isoflop", "kaplan", "envelope"}
    assert {name for name, one in laws.items() if "said" in one} <= {"envelope"}, "which few lengths refuse"
    tied = laws["hoffmann"]["laws"][1]["coefficients"]
    assert 0.33 < tied["alpha"]["value"] < 0.39, "the law has .35 and .37"


def test_the_report_has_its_figures(study: Path) -> None:
    from pipeline.reports import plots

    receipt = read_receipt(study / "law")
    assert receipt is not None
    told = Scaling().report(study / "law", receipt)
    titles = [one.title for one in told.sections]
    assert titles[:3] == ["Scaling study", "Predicted before it was trained", "Scaling laws"]
    charts = {
        part.name: part for section in told.sections for part in section.parts if hasattr(part, "log_x")
    }
    for name in ("curves_over_tokens", "curves_over_flops", "envelope_over_flops"):
        assert f"law_{name}" in charts
    for what in ("parameters", "tokens", "flops"):
        assert f"law_kaplan_lowest_loss_over_{what}" in charts
    assert plots.png(plots.lines(charts["law_envelope_over_flops"])).startswith(b"\x89PNG")
    receipt = read_receipt(study / "forecast")
    assert receipt is not None
    assert [one.title for one in Scaling().report(study / "forecast", receipt).sections] == ["Forecast"]


def test_a_run_without_a_last_loss_is_left_out_and_named(
    study: Path, base: Base, tiny_dataset: Path, tmp_path: Path
) -> None:
    names = grid_of_runs(tmp_path, base, tiny_dataset / TOKENIZER)[:-1]
    (tmp_path / names[0] / "metrics.jsonl").unlink()
    with (tmp_path / names[0] / "metrics.jsonl").open("w") as file:
        file.write('{"step": 1, "time": 1.0, "validation_loss": null}\n')
    counts = compute(tmp_path, "law", names)
    assert counts["runs"] == len(names) - 1
    assert counts["notes"] == [f"{names[0]} is left out: its last loss is no number"]


def runs(folder: Path, base: Base, tokenizer: Path, losses: list[float]) -> list[str]:
    """Runs of one size, the later ones longer."""
    from pipeline.config import PipelineConfig

    for number, loss in enumerate(losses):
        config = PipelineConfig(
            name="s", model=base.model, data=base.data, train={"steps": 100 * (number + 1), "global_batch": 8}
        )
        finished_run(folder / f"run{number}", config, tokenizer, {config.train.steps: loss})
    return [f"run{number}" for number in range(len(losses))]


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([3.0, 2.9], "2 runs are too few for a law"),
        ([3.0, 3.1, 3.2, 3.3, 3.4], "the loss does not fall with compute"),
        ([3.0, 2.9, 2.8, 2.75, 2.7, 2.66, 2.6], "in column parameters; form hoffmann needs 3 different ones"),
    ],
)
def test_what_cannot_be_fitted_is_a_sentence_and_no_line(
    tmp_path: Path, base: Base, tiny_dataset: Path, losses: list[float], said: str
) -> None:
    compute(tmp_path, "law", runs(tmp_path, base, tiny_dataset / TOKENIZER, losses))
    laws = json.loads((tmp_path / "law" / "scaling.json").read_text())["laws"]
    assert all("said" in one for one in laws), "no form gives a law of one size, or of losses that rise"
    assert said in laws[0]["said"]
    assert "\n" not in laws[0]["said"]


def test_without_any_loss_there_is_nothing_to_fit(tmp_path: Path, base: Base, tiny_dataset: Path) -> None:
    names = runs(tmp_path, base, tiny_dataset / TOKENIZER, [np.nan])
    with pytest.raises(InputError, match="no run has a last loss that is a number"):
        compute(tmp_path, "law", names)
