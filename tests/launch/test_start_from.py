"""A published GPT-2 trained further: import, prep with its tokenizer, train, tune, eval, export."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml

from data_prep.contract.dataset import TOKENIZER, Dataset
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from launch import recipe as recipes
from launch.graph import graph
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import checkpoint_folder
from pipeline.conversion.export import export
from pipeline.conversion.imports import import_folder
from pipeline.data.maker import BatchMaker
from pipeline.stages.training import Training
from pipeline.training.job import Job
from pipeline.tuning.batches import InstructionBatches
from tests.launch.test_families import bloomery
from tests.pipeline import tiny
from tests.pipeline.conversion import published

OPTIMIZER = {
    "steps": 3,
    "global_batch": 4,
    "micro_batch": 4,
    "warmup_steps": 1,
    "validation_samples": 4,
    "precision": "float32",
}
RECIPE: dict[str, Any] = {
    "corpus": {"kind": "text", "paths": ["texts"], "validation_share": 0.3, "document_bytes": 2000},
    "tokenizer": {"model": "imported"},
    "model": {"dropout": 0.0},  # the published one has 0.1; it is the recipe's to choose
    "data": {"sequence_length": 32},
    "train": OPTIMIZER | {"start_from": "imported"},
    "tune": OPTIMIZER | {"data": ["pairs.jsonl"]},
    "eval": {"questions": 4, "shots": [0, 1], "generated_tokens": 8, "validation_tokens": 400},
    "tracking": {"enabled": False},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published folder, its import, texts, and a recipe that leaves the model's shape out."""
    folder = tmp_path_factory.mktemp("further")
    published.build("gpt2", folder / "published")
    import_folder(folder / "published", folder / "imported", lambda line: None)
    (folder / "texts").mkdir()
    for seed in range(12):
        (folder / "texts" / f"{seed}.txt").write_text("\n\n".join(tiny.sentences(30, seed)))
    rows = [{"instruction": f"Say {word}.", "output": word} for word in ("red", "green", "blue", "two")]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in 4 * rows))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


@pytest.fixture(scope="module")
def work(place: Path) -> Path:
    """The work folder of `bloomery run`."""
    bloomery("run", str(place / "recipe.yaml"), "--work", str(place / "work"))
    return place / "work"


def job(place: Path, work: Path, name: str, overrides: Sequence[str] = ()) -> Job:
    """The job of a stage of the recipe in a work folder."""
    found = graph(recipes.load(place / "recipe.yaml", overrides), work)
    kind = found.kind(found.stages[name])
    assert isinstance(kind, Training)
    return kind.job(found.stages[name])


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_first_loss_is_that_of_the_published_model(place: Path, work: Path) -> None:
    config = recipes.load(place / "recipe.yaml").pipeline()
    [batch] = BatchMaker(config, str(work / "dataset"), 0, 1).step(0)
    tokens, targets = (torch.from_numpy(batch[name].astype("int64")) for name in ("tokens", "targets"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(place / "published").eval()
    size = Vocabulary(place / "imported").size
    with torch.no_grad():
        logits = theirs(tokens).logits[..., :size]
    wanted = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    first, *_, last = metrics(work / "pretrain")
    assert first["loss"] == pytest.approx(wanted.item(), rel=1e-5)  # the same sums in float32
    assert last["loss"] < first["loss"]


def test_it_was_trained_with_the_published_tokenizer(place: Path, work: Path) -> None:
    dataset = Dataset(work / "dataset")
    theirs = transformers.AutoTokenizer.from_pretrained(place / "published")
    hashes = {Vocabulary(at).sha256 for at in (place / "published", place / "imported", work / "pretrain")}
    assert hashes == {dataset.manifest.tokenizer_sha256}
    texts = {path.read_text() for path in (place / "texts").iterdir()}
    [block, *_] = dataset.blocks("train")
    [document, *_] = block.documents()
    text = theirs.decode(document)
    assert any(text in one for one in texts)
    assert theirs(text)["input_ids"] == document.tolist()


def test_what_was_trained_is_measured_tuned_and_exported(place: Path, work: Path) -> None:
    results = json.loads((work / "eval" / "results.json").read_text())
    assert set(results["runs"]) == {"pretrained", "tuned"}
    assert metrics(work / "tune")[-1]["loss"] < metrics(work / "tune")[0]["loss"]
    export(work / "pretrain", place / "exported", lambda line: None)
    one, other = (place / at / "tokenizer.json" for at in ("published", "exported"))
    assert one.read_bytes() == other.read_bytes()
    transformers.AutoModelForCausalLM.from_pretrained(place / "exported")
    was, now = (
        Checkpoint(checkpoint_folder(*at)) for at in ((place / "imported", 0), (work / "pretrain", 3))
    )
    assert was.index.tensors.keys() == now.index.tensors.keys()
    assert not any(torch.equal(was.weight(one), now.weight(one)) for one in was.index.tensors)


def test_an_imported_model_is_tuned_as_it_is(place: Path, work: Path, tmp_path: Path) -> None:
    """Its first loss is the published model's on the answers; its tokenizer has no chat markers."""
    shutil.copytree(place / "imported", tmp_path / "pretrain")
    shutil.copytree(work / "dataset", tmp_path / "dataset")
    sets = [f"train.start_from={tmp_path / 'pretrain'}", "data.sequence_length=48"]  # roles take some room
    given = [word for one in sets for word in ("--set", one)]
    bloomery("tune", str(place / "recipe.yaml"), "--work", str(tmp_path), *given)
    tuned, vocabulary = job(place, tmp_path, "tune", sets), Vocabulary(place / "imported")
    [batch] = InstructionBatches(tuned.config, vocabulary, [place / "pairs.jsonl"], [], 0, 1).step(0)
    read = vocabulary.decode(batch["tokens"][0])
    assert read.startswith("<|user|> Say ")
    assert "<|assistant|>" in read
    answers = [
        row[weights > 0].tolist() for row, weights in zip(batch["targets"], batch["weights"], strict=True)
    ]
    assert all(one[-1] == vocabulary.eos for one in answers)
    tokens, targets = (torch.from_numpy(batch[name].astype("int64")) for name in ("tokens", "targets"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(place / "published").eval()
    with torch.no_grad():
        logits = theirs(tokens).logits[..., : vocabulary.size]
    learned = torch.from_numpy(batch["weights"]) > 0
    wanted = torch.nn.functional.cross_entropy(logits[learned], targets[learned])
    assert metrics(tmp_path / "tune")[0]["loss"] == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("model.layers=3", "model.layers is 3 and 2 in train.start_from"),
        ("model.max_positions=48", "model.max_positions is 48 and 64 in train.start_from"),
        ("train.start_from=texts", "no complete checkpoint there"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(place: Path, work: Path, given: str, said: str) -> None:
    given = given.replace("texts", str(place / "texts"))
    with pytest.raises(InputError, match=said):
        job(place, work, "pretrain", [given])


def test_another_tokenizer_is_refused(place: Path, tmp_path: Path) -> None:
    tiny.dataset(tmp_path / "dataset", {"train": ["a file."], "validation": ["a path."]})
    with pytest.raises(InputError, match="made with another tokenizer than"):
        job(place, tmp_path, "pretrain")
    (place / "imported").rename(tmp_path / "pretrain")
    try:
        sets = [f"train.start_from={tmp_path / 'pretrain'}", "tune.data=[]"]
        with pytest.raises(InputError, match="an imported model is where pretraining would write"):
            job(place, tmp_path, "pretrain", sets)
        with pytest.raises(InputError, match="made with another tokenizer than"):
            job(place, tmp_path, "tune", sets)
    finally:
        (tmp_path / "pretrain").rename(place / "imported")


def test_another_start_is_another_run(place: Path, work: Path, tmp_path: Path) -> None:
    """What the checkpoint holds counts, wherever it lies."""
    one = job(place, work, "pretrain")
    named = job(place, work, "pretrain", [f"train.start_from={checkpoint_folder(place / 'imported', 0)}"])
    assert named.fingerprint == one.fingerprint
    trained = job(place, work, "pretrain", [f"train.start_from={work / 'pretrain'}"])
    assert trained.fingerprint != one.fingerprint
    assert (work / "pretrain" / TOKENIZER).read_bytes() == (place / "imported" / TOKENIZER).read_bytes()
