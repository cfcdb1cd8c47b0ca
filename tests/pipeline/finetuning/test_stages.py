"""Every task from files to predictions: trained in a world, measured and asked in this process."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from data_prep.contract.receipt import read_receipt
from data_prep.contract.settings import InputError
from launch.cli import app
from pipeline.distributed import world
from pipeline.finetuning.batches import TaskBatches
from pipeline.finetuning.provenance import ROWS, trace_rows
from pipeline.finetuning.results import RESULTS
from pipeline.stages.finetune import Finetune, prepared_of
from tests.distributed.processes import run_world
from tests.pipeline import tiny
from tests.pipeline.finetuning import made
from tests.pipeline.stages_of import run_pretraining

TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "classification": ("encoder", {"kind": "classification", "class_weights": "balanced"}),
    "last-token": ("decoder", {"kind": "classification"}),
    "both": ("encoder_decoder", {"kind": "classification"}),
    "regression": ("encoder", {"kind": "regression"}),
    "tagging": ("encoder", {"kind": "tagging"}),
    "question_answering": (
        "encoder",
        {"kind": "question_answering", "question_tokens": 4, "stride": 8},
    ),
    "multiple_choice": ("encoder", {"kind": "multiple_choice"}),
    "text_to_text": ("encoder_decoder", {"kind": "text_to_text", "answer_tokens": 6}),
    "mixture": (
        "encoder_decoder",
        {
            "kind": "text_to_text",
            "answer_tokens": 6,
            "temperature": 2.0,
            "mixture": {
                "noun": {"prefix": "the list: "},
                "size": {"source": "text", "target": "score", "prefix": "the sum: ", "metric": "bleu"},
            },
        },
    ),
}
KEYS: dict[str, dict[str, Any]] = {"classification": {"seeds": 2, "patience": 2, "epochs": 2.0}}


def place_of(name: str, work: Path) -> Any:
    """The stage of a task."""
    architecture, task = TASKS[name]
    kind = task["kind"]
    kinds = {"noun": "text_to_text", "size": "regression"} if "mixture" in task else {"rows": kind}
    files = {
        "data": {label: work / f"{one}.jsonl" for label, one in kinds.items()},
        "test": {label: work / f"{one}-test.jsonl" for label, one in kinds.items()},
    }
    own = made.settings(task, **KEYS.get(name, {}))
    return made.stage(name, made.config(architecture), work, work / architecture / "pretrain", files, own)


def make_all(work: Path) -> None:
    """In one process: three models, and every task."""
    for architecture in made.MODELS:
        given = made.config(architecture)
        train = given.train.model_copy(
            update={"steps": 2, "global_batch": 4, "micro_batch": 4, "validation_samples": 4}
        )
        run_pretraining(given.model_copy(update={"train": train}), work / architecture)
    for name in TASKS:
        made.train(place_of(name, work))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of all tasks, measured."""
    folder = tmp_path_factory.mktemp("finetuning")
    for architecture in made.MODELS:
        texts = {"train": tiny.sentences(40), "validation": tiny.sentences(8, 1)}
        tiny.dataset(folder / architecture / "dataset", texts)
    for kind in {task["kind"] for _, task in TASKS.values()}:
        made.write(folder / f"{kind}.jsonl", made.rows(kind, 60))
        made.write(folder / f"{kind}-test.jsonl", made.rows(kind, 20, 5))
    run_world(1, make_all, folder)
    for name in TASKS:
        Finetune().conclude(place_of(name, folder), lambda line: None)
    world.start_alone()
    return folder


def test_every_task_is_measured_beside_its_baselines(work: Path) -> None:
    for name in TASKS:
        place = place_of(name, work)
        assert Finetune().is_done(place)
        found = json.loads((place.folder / RESULTS).read_text())
        for split in ("validation", "test"):
            about = found["splits"][split]
            own = list(about["seeds"].values())[-1]
            assert found["main"] in own, name
            assert all(one["low"] <= one["value"] <= one["high"] for one in own.values()), name
            assert about["baselines"], name
        receipt = read_receipt(place.folder)
        assert receipt is not None
        told = Finetune().report(place.folder, receipt)
        assert told.headlines[0].note.startswith(f"{name}, test")
        assert any("test" in section.title for section in told.sections)


def test_mixed_tasks_have_losses_and_measures_of_their_own(work: Path) -> None:
    place = place_of("mixture", work)
    found = json.loads((place.folder / RESULTS).read_text())
    assert set(found["splits"]["test"]["seeds"][str(place.seed)]) == {"noun_exact_match", "size_bleu"}
    lines = [json.loads(line) for line in (place.folder / "metrics.jsonl").open()]
    for line in lines:
        assert line["noun_token_share"] + line["size_token_share"] == pytest.approx(1.0)
        whole = sum(line[f"{name}_loss"] * line[f"{name}_token_share"] for name in ("noun", "size"))
        assert whole == pytest.approx(line["loss"], rel=1e-4), "the loss is that of all tokens together"


def test_seeds_have_runs_of_their_own_and_a_spread(work: Path) -> None:
    place = place_of("classification", work)
    found = json.loads((place.folder / RESULTS).read_text())["splits"]["test"]
    seed = place.seed
    assert list(found["seeds"]) == [str(seed + 1), str(seed)]
    assert read_receipt(place.folder / "seeds" / str(seed + 1)) is not None
    values = [one["accuracy"]["value"] for one in found["seeds"].values()]
    assert found["spread"]["accuracy"]["mean"] == pytest.approx(sum(values) / 2)


def test_predict_says_of_rows_without_answers_what_was_said_of_those_with(work: Path) -> None:
    for name, (_, task) in TASKS.items():
        if name == "mixture":
            continue
        place = place_of(name, work)
        answers = {"label", "score", "tags", "answers", "answer", "target"}
        rows = [
            {key: one for key, one in row.items() if key not in answers}
            for row in made.rows(task["kind"], 20, 5)
        ]
        given = made.write(work / f"{name}-asked.jsonl", rows)
        out = work / f"{name}-said.jsonl"
        arguments = ["predict", str(place.folder), "--input", str(given), "--out", str(out)]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        said = [json.loads(line) for line in out.read_text().splitlines()]
        before = [json.loads(line) for line in (place.folder / "predictions-test.jsonl").open()]
        for one, other in zip(said, before, strict=True):
            for key in ("label", "tags", "answer", "choice", "text"):
                assert one.get(key) == other.get(key), name
            for key in ("score", "value"):
                if isinstance(one.get(key), float):
                    assert one[key] == pytest.approx(other[key], rel=1e-4), name


def test_a_fine_tuned_model_goes_out_as_transformers_class(work: Path) -> None:
    for name, class_name in (
        ("classification", "Sequence"),
        ("tagging", "Token"),
        ("last-token", "Sequence"),
    ):
        out = work / f"{name}-exported"
        done = CliRunner().invoke(app, ["export", str(work / name), str(out)])
        assert done.exit_code == 0, done.output
        config = json.loads((out / "config.json").read_text())
        assert config["architectures"][0].endswith(f"For{class_name}Classification")
        assert "largest difference" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate", "{work}/tagging", "--prompt", "x"], "tuned for tagging"),
        (["predict", "{work}/encoder/pretrain", "--input", "{work}/tagging.jsonl"], "no fine-tuned run"),
        (["predict", "{work}/tagging", "--input", "{work}/regression.jsonl"], "no column 'words'"),
    ],
)
def test_asked_in_the_wrong_way(work: Path, arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, [one.format(work=work) for one in arguments])
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_inspect_tells_the_rows_of_a_step(work: Path) -> None:
    """They are those of the batches that the step was made of; all steps have every row as often."""
    place = place_of("classification", work)
    kind = Finetune()
    job = kind.job(place)
    batches = TaskBatches(prepared_of(place), job.config, 0, 1)
    seen = []
    for step in range(1, 1 + job.config.train.steps):
        found = CliRunner().invoke(app, ["inspect", str(place.folder), "--step", str(step), "--json"])
        assert found.exit_code == 0, found.output
        rows = json.loads(found.output.splitlines()[-1])["rows"]
        assert rows == batches.documents(step - 1)
        seen += [row["document"] for row in rows]
    assert len(seen) == job.config.train.steps * job.config.train.global_batch
    times = Counter(seen).values()
    assert len(times) == len(batches.prepared.train.rows)
    assert max(times) - min(times) <= 1
    told = CliRunner().invoke(app, ["inspect", str(place.folder), "--step", "1"])
    assert str(rows[0]["document"]).split(":")[0] in told.output.replace("\n", "")
    beyond = CliRunner().invoke(app, ["inspect", str(place.folder), "--step", "1000"])
    assert beyond.exit_code == 2
    assert "has the steps 1 to" in beyond.output.replace("\n", " ")


def test_rows_that_are_others_now_are_not_told_as_those_of_a_step(work: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(place_of("tagging", work).folder, folder)
    note = json.loads((folder / ROWS).read_text())
    note["files"]["data"][0][2] = "0" * 64
    (folder / ROWS).write_text(json.dumps(note))
    with pytest.raises(InputError, match="is another file than the run was trained with"):
        trace_rows(folder, 1)
