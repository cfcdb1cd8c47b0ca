"""What MLflow shows of a whole work folder, and that telling it twice changes nothing."""

import json
from pathlib import Path

from data_prep.contract.receipt import Receipt, write_receipt
from pipeline.config import TrackingConfig
from pipeline.evaluation.report import write_report
from pipeline.tracking.publish import publish, track_stage
from tests.pipeline import tiny
from tests.pipeline.evaluation.works import finished_work
from tests.pipeline.tracking.store import Store, once

SETTINGS = TrackingConfig()


def test_stages_and_results_stand_in_one_parent_run(work: Path, store: Store) -> None:
    finished_work(work)
    write_report(work)
    for _ in range(2):
        track_stage(work, "dataset", SETTINGS)
        track_stage(work, "eval", SETTINGS)
        publish(work, SETTINGS)
    parent = store.run("demo")
    names = [store.run(name).data.tags["mlflow.parentRunId"] for name in ("prep", "eval")]
    assert names == [parent.info.run_id] * 2
    assert {store.run(name).info.status for name in ("demo", "prep", "eval")} == {"FINISHED"}
    assert store.steps("demo", "tuned_accuracy_4_shot") == once(range(1))
    assert store.values("demo", "unigram_loss") == {0: 6.5}
    assert "**3.200**" in parent.data.tags["mlflow.note.content"]
    assert {"report.html", "plots"} <= store.artifacts("demo")
    assert "plots/shots.png" in store.artifacts("demo", "plots")
    assert [entry.dataset.name for entry in parent.inputs.dataset_inputs] == ["demo"]
    assert len(store.run("eval").inputs.dataset_inputs) == 1


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
    assert sorted(run.data.params["kind"] for run in store.runs("prep")) == ["one", "two"]
