"""Whether a recipe fits its processes, its memory and its disk."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data_prep.contract.dataset import Dataset
from launch.doctor import fit
from launch.doctor import hosts as several
from launch.doctor.diagnose import diagnose
from launch.doctor.fit import Devices, recipe_fits, split_tensor_groups
from launch.graph import graph
from launch.recipe import Recipe

H100 = 80 << 30


def findings(
    recipe: dict[str, Any], devices: Devices, work: Path = Path()
) -> dict[str, tuple[str, str, str]]:
    """Status, what was found and the advice, by name."""
    given = Recipe.model_validate({"name": "fit", **recipe})
    return {f.name: (f.status, f.found, f.advice) for f in recipe_fits(given, work, devices)}


LLAMA_7B = {
    "tokenizer": {"vocabulary_size": 32_000},
    "model": {
        "layers": 32,
        "hidden_size": 4096,
        "heads": 32,
        "feed_forward_size": 11_008,
        "norm": "rmsnorm",
        "activation": "swiglu",
        "positions": "rope",
        "bias": False,
        "tied_output": False,
    },
    "data": {"sequence_length": 4096},
}


@pytest.mark.parametrize(
    ("slots", "tensor", "split"),
    [([8, 8], 8, 0), ([8, 8], 4, 0), ([1, 1], 2, 1), ([3, 3, 2], 2, 1), ([3, 3, 2], 4, 2), ([4], 2, 0)],
)
def test_tensor_groups_over_hosts(slots: list[int], tensor: int, split: int) -> None:
    assert split_tensor_groups(tensor, slots) == split


def test_a_7b_model_needs_more_than_one_gpu() -> None:
    train = {"micro_batch": 1, "global_batch": 8}
    status, found, advice = findings(LLAMA_7B | {"train": train}, Devices({"a": 1}, True, H100))["memory"]
    assert status == "fail"
    assert "of 80.0 GiB on a GPU" in found
    assert advice.startswith("raise parallel.zero_stage")
    enough = findings(LLAMA_7B | {"train": train, "parallel": {"tensor": 8}}, Devices({"a": 8}, True, H100))
    assert enough["memory"][0] == enough["layout"][0] == "ok"


def test_activations_that_do_not_fit_ask_for_smaller_micro_batches() -> None:
    recipe = LLAMA_7B | {"train": {"micro_batch": 64, "global_batch": 64}, "parallel": {"tensor": 8}}
    status, _, advice = findings(recipe, Devices({"a": 8}, True, H100))["memory"]
    assert status == "fail"
    assert "train.micro_batch" in advice


def test_ranks_of_a_host_share_its_memory() -> None:
    recipe = {"parallel": {"tensor": 2}, "train": {"global_batch": 16}}
    devices = Devices({"a": 2, "b": 2}, False, 3 << 30)
    assert findings(recipe, devices)["memory"][0] == "ok"
    assert findings(recipe, Devices({"a": 2, "b": 2}, False, 2 << 30))["memory"][0] == "fail"


def test_a_teachers_logits_are_kept_of_a_whole_step() -> None:
    """However long a validation is; micro batches are of 8."""

    def beside(global_batch: int, validation_samples: int) -> str:
        train = {"micro_batch": 8, "global_batch": global_batch, "validation_samples": validation_samples}
        stages = {
            "dataset": {"kind": "prep"},
            "base": {"kind": "pretrain", "data": "dataset"},
            "student": {"kind": "distill", "data": "dataset", "teacher": "base", **train},
        }
        found = findings({"stages": stages}, Devices({"a": 1}, True, H100))
        return found["memory student"][1].partition("companions ")[2]

    assert beside(32, 8) == beside(32, 64) != beside(8, 8) == beside(8, 64)


def test_a_layout_that_does_not_divide() -> None:
    found = findings({"parallel": {"tensor": 2, "pipeline": 2}}, Devices({"a": 3, "b": 3}, True, H100))
    assert found["layout"][0] == "fail"
    assert "is 4 processes, but 6 were started" in found["layout"][1]
    assert "memory" not in found


@pytest.mark.parametrize(("free", "status"), [(200 << 20, "fail"), (500 << 20, "warn"), (9 << 30, "ok")])
def test_room_for_checkpoints(
    free: int, status: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """8.7 million parameters are 104 MB a checkpoint; two are kept and one is being written."""
    monkeypatch.setattr(fit.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    recipe = {"tokenizer": {"vocabulary_size": 21_500}}
    found = findings(recipe, Devices({"a": 1}, False, H100), tmp_path / "runs" / "new")["disk"]
    assert found[0] == status
    assert "3 checkpoints of 100 MiB" in found[1]


STAGES = {
    "objective": {"kind": "masked_lm"},  # of no use to the recipe's own model, only to its stages'
    "tokenizer": {"vocabulary_size": 21_500},
}


def test_each_training_of_a_recipe_with_stages_by_the_tokenizer_of_what_it_reads(tiny_dataset: Path) -> None:
    base = {"kind": "pretrain", "data": str(tiny_dataset), "model": {"architecture": "encoder"}}
    stages = {"base": base, "more": {"kind": "pretrain", "data": str(tiny_dataset), "from": "base"}}
    found = findings(
        STAGES | {"stages": stages}, Devices({"a": 1}, False, H100), tiny_dataset.parent / "work"
    )
    assert set(found) == {f"{name} {stage}" for name in ("disk", "layout", "memory") for stage in stages}
    recipe = Recipe.model_validate({"name": "fit", **STAGES, "stages": stages})
    among = graph(recipe, tiny_dataset.parent / "work")
    pieces = Dataset(tiny_dataset).manifest.vocabulary_size
    assert {fit.vocabulary_size(recipe, among, among.stages[name]) for name in stages} == {pieces}


def test_as_many_processes_are_tried_as_the_largest_training_has(
    tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {"kind": "pretrain", "data": str(tiny_dataset), "model": {"architecture": "encoder"}}
    stages = {"base": base, "wide": {**base, "parallel": {"tensor": 2, "data": 2}}}
    recipe = Recipe.model_validate({"name": "fit", **STAGES, "stages": stages})
    tried: list[int] = []
    monkeypatch.setattr(several, "try_start", lambda *given: tried.append(given[-1]) or several.Trial())
    assert {finding.status for finding in diagnose(recipe, tiny_dataset.parent / "work", None)} >= {"ok"}
    assert tried == [4]
