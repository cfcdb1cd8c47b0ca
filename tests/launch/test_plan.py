"""`bloomery plan` as a user meets it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app

QUICKSTART = str(Path(__file__).parents[2] / "launch" / "recipes" / "quickstart.yaml")
ASKED = ["llama2-7b", "--gpu", "h100", "--gpus", "16", "--tokens", "1e11"]


def plan(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["plan", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_a_preset_on_a_cluster() -> None:
    status, told, _ = plan(*ASKED, "--price", "2", "--global-batch", "512", "--json")
    assert status == 0
    for word in ("MFU", "cost", "checkpoint:", "twice the GPUs:", "tokens a parameter", "MWh"):
        assert word in told
    found = json.loads(told.splitlines()[-1])
    first = found["layouts"][0]
    assert found["parameters"] == 6_738_415_616 + 2 * 4096 * (50_304 - 32_000)
    assert first["cost"] == pytest.approx(2 * first["gpu_hours"])
    assert found["twice_the_gpus"]["days"] < first["days"]
    assert found["global_batch"] == 512


def test_a_recipe_with_its_own_numbers(tmp_path: Path) -> None:
    status, told, said = plan(
        QUICKSTART, "--gpu", "a100-80", "--gpus", "8", "--set", "train.steps=77", "--json"
    )
    assert status == 0, said
    found = json.loads(told.splitlines()[-1])
    assert found["tokens"] % 77 == 0
    assert found["gpus"] == 8


def test_a_budget_gives_the_tokens() -> None:
    status, told, _ = plan(*ASKED[:-2], "--budget", "1e21", "--law", "hoffmann", "--json")
    found = json.loads(told.splitlines()[-1])
    assert status == 0
    assert 6 * found["parameters"] * found["tokens"] == pytest.approx(1e21)
    assert found["optimum"]["flops"] == pytest.approx(1e21)


def test_a_device_without_bfloat16_trains_in_float16() -> None:
    status, told, _ = plan("gpt2-124m", "--gpu", "v100", "--gpus", "7")
    assert status == 0
    assert "7 v100 in float16" in told


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    status, told, _ = plan("gpt2-124m", "--gpu", "a100-40", "--gpus", "8", "--out", str(tmp_path))
    assert status == 0
    assert {place.name for place in (tmp_path / "plots").iterdir()} == {
        "strong_shares.png", "tokens_per_gpu.png", "tokens_together.png", "weak_shares.png",
    }  # fmt: skip
    assert json.loads((tmp_path / "plan.json").read_text())["scaling"]
    assert "10,240" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["llama2-7b", "--gpu", "h100", "--gpus", "0"], "--gpus 0"),
        (["llama2-7b", "--gpu", "gtx", "--gpus", "8"], "--gpu gtx: there are b200"),
        (["llama2-70", "--gpu", "h100", "--gpus", "8"], "did you mean llama2-70b"),
        (["gpt3-175b", "--gpu", "h100", "--gpus", "8"], "no layout fits"),
        ([*ASKED[:-1], "-5"], "--tokens -5"),
        ([*ASKED[:-2], "--budget", "-1"], "--budget -1"),
        ([*ASKED, "--budget", "1e21"], "not both"),
        ([*ASKED, "--tensor", "5"], "is possible"),
        ([*ASKED, "--price", "nan"], "--price nan"),
        ([*ASKED, "--law", "none.json"], "neither a law"),
        ([*ASKED, "--sequence-length", "0"], "--sequence-length 0"),
        ([*ASKED, "--set", "train.steps=3"], "keys of a recipe"),
        (
            [QUICKSTART, "--gpu", "b200", "--gpus", "2", "--set", "train.precision=float32"],
            "float32: no speed",
        ),
        (
            [QUICKSTART, "--gpu", "v100", "--gpus", "2", "--set", "train.precision=bfloat16"],
            "bfloat16: no speed",
        ),
        (["none.yaml", "--gpu", "h100", "--gpus", "8"], "no such file"),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments: list[str], said: str) -> None:
    status, _, told = plan(*arguments)
    assert status == 2
    assert said in told
    assert told.count("\n") == 1
