"""A checkpoint of one layout goes on in any other, and a damaged one is passed over.

The same layout goes on bit for bit. Another layout goes on as close as uninterrupted runs of the two layouts
are to one another (`toy.assert_follows`).
"""

import json
from pathlib import Path

import pytest

from data_prep.contract.settings import InputError
from pipeline.parallel import world
from pipeline.training import files, saving
from pipeline.training.checkpoint import Checkpoint, complete
from tests.distributed import toy
from tests.distributed.processes import run_world

LAYOUTS = [(1, 1, 1, 0), (1, 1, 2, 1), (1, 1, 2, 2), (1, 1, 2, 3), (1, 2, 1, 0), (2, 1, 2, 1), (2, 2, 1, 1)]
SAVED_AT = 3


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A run at (2, 2, 1) with its checkpoint after step 3, and what it computed to its end."""
    run = tmp_path_factory.mktemp("saved")
    return run, run_world(4, toy.train, toy.config(toy.GPT, 2, 2), run, False, SAVED_AT)[0]


@pytest.mark.parametrize(("tensor", "pipeline", "data", "zero_stage"), LAYOUTS)
def test_goes_on_in_another_layout(
    saved: tuple[Path, list[float]], tensor: int, pipeline: int, data: int, zero_stage: int
) -> None:
    run, uninterrupted = saved
    given = toy.config(toy.GPT, tensor, pipeline, zero_stage)
    result = run_world(tensor * pipeline * data, toy.train, given, run, True)[0]
    expected = uninterrupted[2 * SAVED_AT :]
    if (tensor, pipeline, data) == (2, 2, 1):
        assert result == expected
    else:
        toy.assert_follows(result, expected)


def test_sharded_parameters_go_on_from_zero_3(tmp_path: Path) -> None:
    """Gated MLPs fuse two matrices that are each cut alone; ZeRO-3 cuts everything once more."""
    uninterrupted = run_world(2, toy.train, toy.config(toy.LLAMA, zero_stage=3), tmp_path, False, SAVED_AT)[0]
    for tensor, pipeline in [(2, 1), (1, 2)]:
        result = run_world(2, toy.train, toy.config(toy.LLAMA, tensor, pipeline), tmp_path, True)[0]
        toy.assert_follows(result, uninterrupted[2 * SAVED_AT :])


def test_dropout_goes_on_bit_for_bit(tmp_path: Path) -> None:
    given = toy.config(toy.GPT | {"dropout": 0.2}, tensor=2)
    uninterrupted = run_world(2, toy.train, given, tmp_path, False, SAVED_AT)[0]
    assert run_world(2, toy.train, given, tmp_path, True)[0] == uninterrupted[2 * SAVED_AT :]
    plain = run_world(2, toy.train, toy.config(toy.GPT, tensor=2))[0]
    assert plain != uninterrupted, "dropout must do something"


def newest(run: Path) -> tuple[int | None, list[str]]:
    """Step of the newest usable checkpoint, and what is said of the others."""
    here = world.start_alone()
    said: list[str] = []
    found = saving.newest(run, here, said.append)
    return (found.index.step if found else None), said


def test_a_flipped_bit_is_refused(saved: tuple[Path, list[float]], tmp_path: Path) -> None:
    run, _ = saved
    for step in (1, 2):
        folder = tmp_path / "checkpoints" / f"step-{step:06d}"
        folder.mkdir(parents=True)
        for path in complete(run)[0].iterdir():
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


def wrong_architecture(run: Path) -> str:
    """What is said when a checkpoint is loaded into another model."""
    with pytest.raises(InputError) as caught:
        toy.train(toy.config(toy.GPT | {"hidden_size": 64}), run, True)
    return str(caught.value)


def test_another_architecture_is_refused(saved: tuple[Path, list[float]]) -> None:
    [said] = run_world(1, wrong_architecture, saved[0])
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
