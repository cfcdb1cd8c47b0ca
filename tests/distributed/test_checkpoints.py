"""A checkpoint of one layout goes on in any other, and a damaged one is passed over.

The same layout goes on bit for bit. Another layout goes on as close as uninterrupted runs of the two layouts
are to one another (`toy.assert_follows`).
"""

import json
from pathlib import Path

import pytest

from data_prep.contract.settings import InputError
from pipeline.checkpoints import files, saving
from pipeline.checkpoints.format import Checkpoint, complete
from pipeline.distributed import world
from tests.distributed import toy
from tests.distributed.processes import run_world

MODELS = {"gpt": toy.GPT, "bert": toy.BERT, "t5": toy.T5}
STEPS, SAVED_AT = 30, 20
LAYOUTS: dict[int, list[dict[str, int]]] = {
    1: [{"zero_stage": 0}],
    2: [
        {"zero_stage": 0},
        {"zero_stage": 1},
        {"zero_stage": 2},
        {"zero_stage": 3},
        {"pipeline": 2, "zero_stage": 0},
        {"pipeline": 2, "zero_stage": 1},
    ],
    4: [
        {"tensor": 2, "zero_stage": 1},
        {"tensor": 2, "zero_stage": 3},
        {"tensor": 2, "sequence": True, "zero_stage": 2},
        {"tensor": 2, "pipeline": 2},
    ],
}
"""Layouts by the number of processes; data parallelism takes what tensor and pipeline leave."""

Saved = tuple[str, Path, list[float]]


@pytest.fixture(scope="module", params=["gpt", pytest.param("bert", marks=pytest.mark.slow), "t5"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A run at (2, 2, 1) with its checkpoint after step 20, and what it computed to its end."""
    run, given = tmp_path_factory.mktemp("saved"), toy.config(MODELS[request.param], 2, 2, steps=STEPS)
    return request.param, run, run_world(4, toy.train, given, run, False, SAVED_AT)[0]


@pytest.mark.parametrize("processes", LAYOUTS)
def test_goes_on_in_another_layout(saved: Saved, processes: int) -> None:
    model, run, uninterrupted = saved
    layouts, expected = LAYOUTS[processes], uninterrupted[2 * SAVED_AT :]
    given = [toy.config(MODELS[model], steps=STEPS, **layout) for layout in layouts]
    for layout, result in zip(layouts, run_world(processes, toy.train_each, given, run)[0], strict=True):
        toy.assert_follows(result, expected, str(layout))
        if layout == {"tensor": 2, "pipeline": 2}:
            assert result == expected, "the same layout goes on bit for bit"


def test_sharded_parameters_go_on_from_zero_3(tmp_path: Path) -> None:
    """Gated MLPs fuse two matrices that are each cut alone; ZeRO-3 cuts everything once more."""
    uninterrupted = run_world(2, toy.train, toy.config(toy.LLAMA, zero_stage=3), tmp_path, False, 3)[0]
    for tensor, pipeline in [(2, 1), (1, 2)]:
        result = run_world(2, toy.train, toy.config(toy.LLAMA, tensor, pipeline), tmp_path, True)[0]
        toy.assert_follows(result, uninterrupted[6:])


def test_dropout_goes_on_bit_for_bit(tmp_path: Path) -> None:
    given = toy.config(toy.GPT | {"dropout": 0.2}, tensor=2)
    uninterrupted = run_world(2, toy.train, given, tmp_path, False, 3)[0]
    assert run_world(2, toy.train, given, tmp_path, True)[0] == uninterrupted[6:]
    plain = run_world(2, toy.train, toy.config(toy.GPT, tensor=2))[0]
    assert plain != uninterrupted, "dropout must do something"


def newest(run: Path) -> tuple[int | None, list[str]]:
    """Step of the newest usable checkpoint, and what is said of the others."""
    here = world.start_alone()
    said: list[str] = []
    found = saving.newest(run, here, said.append)
    return (found.index.step if found else None), said


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT's run of one process with one checkpoint."""
    run = tmp_path_factory.mktemp("small")
    run_world(1, toy.train, toy.config(toy.GPT), run, False, 3)
    return run


def test_a_flipped_bit_is_refused(small: Path, tmp_path: Path) -> None:
    for step in (1, 2):
        folder = tmp_path / "checkpoints" / f"step-{step:06d}"
        folder.mkdir(parents=True)
        for path in complete(small)[0].iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        index = json.loads((folder / "checkpoint.json").read_text()) | {"step": step}
        (folder / "checkpoint.json").write_text(json.dumps(index))
    damaged = tmp_path / "checkpoints" / "step-000002" / "weights-00000.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-5] ^= 1
    damaged.write_bytes(content)
    [(step, said)] = run_world(1, newest, tmp_path)
    assert step == 1
    assert "weights-00000.safetensors is corrupt" in said[0]
    damaged.write_bytes(content[:-8])
    assert "has not" in run_world(1, newest, tmp_path)[0][1][0]
    (damaged.parent / "checkpoint.json").write_text("{")
    assert run_world(1, newest, tmp_path)[0][0] == 1


def test_an_index_from_before_other_optimizers_is_read_as_adams(small: Path, tmp_path: Path) -> None:
    now = Checkpoint(complete(small)[-1])
    for path in now.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    index = json.loads((tmp_path / "checkpoint.json").read_text())
    del index["adapter_scale"]
    for entry in index["tensors"].values():
        del entry["states"], entry["whole_states"]
    (tmp_path / "checkpoint.json").write_text(json.dumps(index))
    before = Checkpoint(tmp_path)
    for name in now.index.tensors:
        assert before.merged(name).equal(now.weight(name))
        for kind in ("exp_avg", "exp_avg_sq"):
            assert before.state(name, kind).any()
            assert before.state(name, kind).equal(now.state(name, kind))
    with pytest.raises(InputError, match="another optimizer"):
        before.state("words.table.weight", "momentum")
    with pytest.raises(InputError, match="no average"):
        before.merged("words.table.weight", average=True)


def wrong_architecture(run: Path) -> str:
    """What is said when a checkpoint is loaded into another model."""
    with pytest.raises(InputError) as caught:
        toy.train(toy.config(toy.GPT | {"hidden_size": 64}), run, True)
    return str(caught.value)


def test_another_architecture_is_refused(small: Path) -> None:
    [said] = run_world(1, wrong_architecture, small)
    assert "another architecture" in said
    assert "words.table.weight" in said


def test_an_unfinished_save_does_not_count(tmp_path: Path) -> None:
    unfinished = tmp_path / "checkpoints" / ".step-000009.0123abcd.tmp"
    unfinished.mkdir(parents=True)
    (tmp_path / ".receipt.json.77.tmp").touch()
    assert complete(tmp_path) == []
    with pytest.raises(InputError, match="not a checkpoint"):
        Checkpoint(unfinished)
    files.remove_orphans(tmp_path)
    assert not list((tmp_path / "checkpoints").iterdir())
    assert not list(tmp_path.glob(".*"))
