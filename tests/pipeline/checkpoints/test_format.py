"""Checkpoints that others wrote or a disk damaged: every number is one that was written, or none is read."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from data_prep.contract.receipt import file_hash
from data_prep.contract.settings import InputError
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import INDEX, read_config, saved_steps

WHOLE = torch.arange(24, dtype=torch.float32).view(4, 6)


def checkpoint(folder: Path, **changes: Any) -> Path:
    """A weight [4, 6] that two ranks wrote, cut by rows; `changes` are of its entry in the index."""
    folder.mkdir(parents=True, exist_ok=True)
    for rank, rows in enumerate(WHOLE.chunk(2)):
        save_file({"w": rows.flatten().contiguous()}, folder / f"weights-{rank:05d}.safetensors")
    names = [f"weights-{rank:05d}.safetensors" for rank in range(2)]
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": file_hash(folder / name)} for name in names
    }
    entry = {"shape": [4, 6], "cut": [2, 0, 1], "parts": [[0, 0, 0, 12], [1, 1, 0, 12]]} | changes
    index = {
        "schema_version": 2,
        "step": 3,
        "updates": 3,
        "layout": {},
        "tensors": {"w": entry},
        "files": files,
    }
    (folder / INDEX).write_text(json.dumps(index))
    return folder


def test_a_weight_is_put_together(tmp_path: Path) -> None:
    found = Checkpoint(checkpoint(tmp_path))
    assert found.damage() is None
    torch.testing.assert_close(found.weight("w"), WHOLE)


@pytest.mark.parametrize(
    "changes",
    [
        {"parts": [[0, 0, 0, 12]]},
        {"parts": [[0, 0, 0, 12], [1, 1, 0, 11]]},
        {"parts": [[0, 0, 0, 12], [1, 1, 1, 12]]},
        {"parts": [[0, 0, 0, 12], [0, 0, 0, 12]]},
        {"parts": [[0, 0, 0, 12], [1, 1, 0, 12], [1, 1, 0, 12]]},
        {"parts": [[0, 0, 0, -1], [1, 1, 0, 12]]},
        {"parts": [[0, 5, 0, 12], [1, 1, 0, 12]]},
        {"parts": [[7, 0, 0, 12], [1, 1, 0, 12]]},
        {"parts": []},
        {"shape": [4, 7]},
        {"shape": [1 << 40, 1 << 40]},
        {"shape": [0]},
        {"shape": [-4, -6]},
        {"cut": [3, 0, 1]},
        {"cut": [2, 5, 1]},
        {"cut": [2, 0, 0]},
        {"cut": [0, 0, 1]},
    ],
)
def test_no_number_is_made_up(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Memory is taken for what the parts cover, and for nothing else."""
    found = Checkpoint(checkpoint(tmp_path, **changes))
    with pytest.raises(InputError):
        found.weight("w")


def test_a_part_of_another_size_or_kind_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    for tensor in (torch.zeros(11), torch.zeros(12, dtype=torch.float16), torch.zeros(3, 4)):
        save_file({"w": tensor}, folder / "weights-00001.safetensors")
        with pytest.raises(InputError, match="weights-00001"):
            Checkpoint(folder).weight("w")


@pytest.mark.parametrize("name", ["../weights-00000.safetensors", "/etc/passwd", "-x", "a\nb"])
def test_files_have_plain_names(tmp_path: Path, name: str) -> None:
    folder = checkpoint(tmp_path)
    index = json.loads((folder / INDEX).read_text())
    index["files"][name] = index["files"].pop("weights-00000.safetensors")
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match="no plain relative name"):
        Checkpoint(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_an_input_error_or_the_right_numbers(tmp_path: Path, data: st.DataObject) -> None:
    """A byte flipped, cut off or doubled anywhere in the index or in a file of weights."""
    folder = checkpoint(tmp_path)
    name = data.draw(st.sampled_from([INDEX, "weights-00000.safetensors", "weights-00001.safetensors"]))
    content = bytearray((folder / name).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "double"])):
        case "flip":
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del content[place:]
        case "double":
            content[place:place] = content[: len(content) - place]
    (folder / name).write_bytes(content)
    with suppress(InputError):
        found = Checkpoint(folder)
        if found.damage() is None:
            torch.testing.assert_close(found.weight("w"), WHOLE)


def test_folders_that_are_no_checkpoints_are_passed_over(tmp_path: Path) -> None:
    for name in ("step-000008", "step-000012", "step-best", "step-000012-backup", "step-", "step-١٢"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert saved_steps(tmp_path) == [8, 12]


@pytest.mark.parametrize(
    "text", ["", "5", "[1]", "name: [", "a: &a [*a]", "name: x\nmodel: {layers: -1}", "\x00", "name: 5\n" * 3]
)
def test_a_runs_configuration_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=r"config\.yaml"):
        read_config(tmp_path)
