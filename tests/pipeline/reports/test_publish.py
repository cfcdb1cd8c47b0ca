"""What MLflow shows of a whole work folder, and that telling it twice changes nothing."""

import json
import os
from pathlib import Path

import pytest

from data_prep.contract.receipt import Receipt, write_receipt
from data_prep.contract.settings import InputError
from launch.kinds import all_kinds
from launch.registration import Registration
from pipeline.config import TrackingConfig
from pipeline.reports import describe
from pipeline.reports import publish as published
from pipeline.reports.findings import Findings
from pipeline.reports.report import write_report
from pipeline.stages.evaluate import write_table
from pipeline.stages.summary import findings_of, track
from pipeline.tracking import metrics
from pipeline.tracking.tracker import Tracker
from tests.pipeline import tiny
from tests.pipeline.evaluation.works import finished_work
from tests.pipeline.tracking.store import Store, once

SETTINGS = TrackingConfig()


def found_in(work: Path) -> Findings:
    return findings_of(work, all_kinds())


def publish(work: Path, settings: TrackingConfig) -> None:
    published.publish(found_in(work), settings)


def track_stage(work: Path, name: str, settings: TrackingConfig) -> None:
    if name == "eval":
        write_table(work / name)
    track(work, name, all_kinds(), settings, print)


def test_stages_and_results_stand_in_one_parent_run(work: Path, store: Store) -> None:
    finished_work(work)
    config = {"model": {"layers": 4, "hidden_size": None}, "train": {"steps": 20}}
    write_receipt(work / "pretrain", Receipt(stage="pretrain", fingerprint="pretrain", config=config))
    write_report(found_in(work))
    for _ in range(2):
        track_stage(work, "dataset", SETTINGS)
        track_stage(work, "eval", SETTINGS)
        publish(work, SETTINGS)
    parent = store.run("demo")
    stages = ("dataset", "tokenizer", "eval")
    assert [store.run(name).data.tags["mlflow.parentRunId"] for name in stages] == [parent.info.run_id] * 3
    assert {store.run(name).info.status for name in ("demo", *stages)} == {"FINISHED"}
    assert store.artifacts("tokenizer") == {"tokenizer.model"}
    assert {"funnel.png", "receipt.json"} <= store.artifacts("dataset")
    assert store.values("dataset", "steps.collect.documents_per_second") == {0: 25.0}
    assert store.values("dataset", "funnel.cleaned.documents") == {0: 150.0}
    assert store.values("dataset", "removed.too short") == {0: 50.0}
    assert store.values("tokenizer", "bytes_per_token")[0] > 1
    assert store.steps("demo", "tuned_exam_response_4_shot") == once(range(1))
    assert store.values("demo", "unigram_loss") == {0: 6.5}
    view = json.loads(store.client.get_experiment("1").tags["mlflow.sharedViewState.bloomery"])
    assert view["name"] == "Bloomery"
    assert "metrics.`tuned_held_out_loss`" in json.loads(view["state"])["selectedColumns"]
    told = parent.data.tags["mlflow.note.content"]
    assert "**3.200**" in told
    assert f"![stages](get-artifact?run_uuid={parent.info.run_id}&path=plots/stages.png)" in told
    assert f"bloomery export {work / 'tune'} my-model" in told
    assert parent.data.params == {"pretrain.model.layers": "4", "pretrain.train.steps": "20"}
    assert {"report.html", "plots"} <= store.artifacts("demo")
    assert {"plots/eval_exam_shots.png", "plots/stages.png"} <= store.artifacts("demo", "plots")
    assert [entry.dataset.name for entry in parent.inputs.dataset_inputs] == ["demo"]
    assert len(store.run("eval").inputs.dataset_inputs) == 1


def test_models_are_registered_with_their_run_dataset_and_figures(work: Path, store: Store) -> None:
    finished_work(work)
    for stage in ("pretrain", "tune"):
        run = Tracker(work / stage, work, stage, {}, SETTINGS)
        run.start_from(20)
        run.close()
    for _ in range(2):
        track_stage(work, "eval", SETTINGS)
        (work / "mlflow.json").unlink(missing_ok=True)
        publish(work, SETTINGS)
    trained, evaluated = store.run("tune"), store.run("eval")
    models = store.client.search_logged_models([trained.info.experiment_id])
    assert sorted(model.name for model in models) == ["pretrained", "tuned"]
    (tuned,) = [model for model in models if model.name == "tuned"]
    assert tuned.source_run_id == trained.info.run_id
    assert tuned.tags["bloomery.checkpoint"] == str(work / "tune" / "checkpoints" / "step-20")
    figures = {metric.key: (metric.value, metric.dataset_name) for metric in tuned.metrics}
    assert figures["evaluation/held_out_loss"] == (3.2, "demo")
    assert figures["evaluation/exam_response_4_shot"] == (0.62, "demo")
    assert [one.model_id for one in trained.outputs.model_outputs] == [tuned.model_id]
    assert {one.model_id for one in evaluated.inputs.model_inputs} == {model.model_id for model in models}
    versions = store.client.search_model_versions("name = 'demo'")
    assert len(versions) == 2
    aliased = store.client.get_model_version_by_alias("demo", "tuned")
    assert aliased.source == tuned.artifact_location
    assert {Path(path).name for path in files_of(aliased.source)} == {"tokenizer.model"}
    assert aliased.tags["held_out_loss"] == "3.2000"
    assert "| parameters &nbsp; | 3.12 M |" in aliased.description


def test_checkpoints_on_the_way_and_the_base_of_tuning_are_linked(work: Path, store: Store) -> None:
    finished_work(work)
    write_receipt(
        work / "tune", Receipt(stage="tune", fingerprint="tune", inputs={"pretrained": "pretrain"}, config={})
    )
    (work / "pretrain" / "checkpoints" / "step-10").mkdir()
    metrics.append(work / "pretrain" / "metrics.jsonl", 10, {"validation_loss": 4.5})
    for _ in range(2):
        (work / "mlflow.json").unlink(missing_ok=True)
        publish(work, SETTINGS)
    pretraining, tuning = store.run("pretrain"), store.run("tune")
    models = {
        model.name: model for model in store.client.search_logged_models([pretraining.info.experiment_id])
    }
    assert sorted(models) == ["pretrained", "pretrained-step-10", "tuned"]
    assert {metric.key: metric.value for metric in models["pretrained-step-10"].metrics} == {
        "evaluation/validation_loss": 4.5
    }
    assert {(one.model_id, one.step) for one in pretraining.outputs.model_outputs} == {
        (models["pretrained-step-10"].model_id, 10),
        (models["pretrained"].model_id, 20),
    }
    assert [one.model_id for one in tuning.inputs.model_inputs] == [models["pretrained"].model_id]
    assert len(store.client.search_model_versions("name = 'demo'")) == 2


def test_an_exported_model_is_registered_with_the_figures_of_its_model(
    work: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_work(work)
    publish(work, SETTINGS)
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "config.json").write_text("{}")
    (tmp_path / "exported" / "model.safetensors").write_bytes(bytes(100))
    monkeypatch.setattr(describe, "SMALL", 100)
    for _ in range(2):
        published.register(found_in(work), "tune", tmp_path / "exported", "demo", SETTINGS)
    version = store.client.get_model_version_by_alias("demo", "tuned-export")
    assert version.tags["held_out_loss"] == "3.2000"
    assert {Path(path).name for path in files_of(version.source)} == {"config.json"}
    assert str(tmp_path / "exported") in version.description
    assert len(store.client.search_model_versions("name = 'demo'")) == 3
    registration = Registration.of(work / "tune", "demo")
    assert (registration.run, registration.name) == (work / "tune", "demo")
    for name, said in (("a/b", "a name without"), (" ", "a name without")):
        with pytest.raises(InputError, match=said):
            Registration.of(work / "tune", name)
    with pytest.raises(InputError, match="not the last checkpoint"):
        Registration.of(work / "tune" / "checkpoints" / "step-000000", "demo")
    with pytest.raises(InputError, match="no finished training"):
        published.register(found_in(tmp_path / "elsewhere"), "tune", tmp_path / "exported", "demo", SETTINGS)


def files_of(address: str) -> list[str]:
    return [str(path) for path in Path(address.removeprefix("file://")).iterdir()]


def test_everything_lies_beside_the_work_folder(
    work: Path, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    finished_work(work)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for folder in ("dataset", "eval"):
        track_stage(work, folder, SETTINGS)
    publish(work, SETTINGS)
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert list(Path.cwd().iterdir()) == []
    assert (work.parent / "mlartifacts" / "bloomery").is_dir()
    names = ("demo", "dataset", "tokenizer", "pretrain", "tune", "eval")
    folder = (work.parent / "mlartifacts" / "bloomery").as_uri()
    assert all(store.run(name).info.artifact_uri.startswith(folder) for name in names)


def test_prompts_and_answers_are_a_table(work: Path, store: Store) -> None:
    finished_work(work)
    track_stage(work, "eval", SETTINGS)
    tag = json.loads(store.run("eval").data.tags["mlflow.loggedArtifacts"])
    assert tag == [{"path": "prompts_and_answers.json", "type": "table"}]
    path = store.client.download_artifacts(store.run("eval").info.run_id, "prompts_and_answers.json")
    table = json.loads(Path(path).read_text())
    assert table["columns"] == ["prompt", "pretrained", "tuned", "reference", "source"]
    assert table["data"][0][:3] == ["def <f>(x)", "a & b", "adds"]


def test_preparation_done_again_is_another_run(work: Path, store: Store) -> None:
    tiny.dataset(work / "dataset", {"train": ["a file."], "validation": ["a path."]})
    for print_of in ("one", "one", "two"):
        receipt = Receipt(stage="prep", fingerprint=print_of, config={"kind": print_of}, counts={"kept": 2})
        write_receipt(work / "dataset", receipt)
        track_stage(work, "dataset", SETTINGS)
    assert sorted(run.data.params["kind"] for run in store.runs("dataset")) == ["one", "two"]


def test_a_reason_in_any_words_is_a_name_that_mlflow_takes() -> None:
    counts = {"input": {"failures": {"not gzip (a page)": 1}, "named": ["a"]}}
    assert describe.numbers(counts) == {"input.failures.not gzip a page": 1.0}
