"""The recipes give the losses that they gave at another commit, to the last digit.

    python -m tests.benchmarks.losses COMMIT [--work FOLDER] [--recipes quickstart quickstart-bert]

The code of COMMIT is checked out beside this one. It prepares each recipe's corpus, pretrains and tunes for
some steps; this code then trains on a copy of its dataset, which shows too that old folders are read. Losses,
validation losses and gradients' norms are compared as numbers, not within a tolerance. Exits with 1 where one
differs.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPES = {
    "quickstart": ("pretrain", "tune"),
    "quickstart-bert": ("pretrain",),  # an encoder has no answers to tune
    "quickstart-t5": ("pretrain", "tune"),
}
VERBS = {"pretrain": "train", "tune": "tune"}
COMPARED = ("loss", "validation_loss", "gradient_norm", "learning_rate")
SETTINGS = (
    "corpus.max_bytes=3000000",
    *(f"{stage}.{key}" for stage in ("train", "tune") for key in ("validate_every=6", "checkpoint_every=6")),
    *("train.steps=12", "tune.steps=6"),
)
Row = dict[str, float]


def bloomery(code: Path, verb: str, recipe: str, work: Path) -> None:
    """Run a command over a recipe by the packages in `code`."""
    environment = os.environ | {"PYTHONPATH": str(code), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from launch.cli import main; main()", verb]
    command += [str(code / f"launch/recipes/{recipe}.yaml"), "--work", str(work)]
    for setting in SETTINGS:
        command += ["--set", setting]
    work.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        command, cwd=work, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.exit(f"bloomery {verb} {recipe} in {code} ended with {done.returncode}:\n{done.stdout.decode()}")


def trained(code: Path, recipe: str, work: Path) -> None:
    for stage in RECIPES[recipe]:
        bloomery(code, VERBS[stage], recipe, work)


def rows(metrics: Path) -> list[Row]:
    return [json.loads(line) for line in metrics.read_text().splitlines()]


def differences(before: list[Row], after: list[Row]) -> list[str]:
    if len(before) != len(after):
        return [f"{len(before)} lines of metrics before, {len(after)} after"]
    return [
        f"step {old['step']:.0f}: {key} {old.get(key)!r} before, {new.get(key)!r} after"
        for old, new in zip(before, after, strict=True)
        for key in COMPARED
        if old.get(key) != new.get(key)
    ]


def compare(recipe: str, before: Path, after: Path) -> bool:
    same = True
    for stage in RECIPES[recipe]:
        old, new = (rows(work / stage / "metrics.jsonl") for work in (before, after))
        found = differences(old, new)
        last = max((row for row in new if "loss" in row), key=lambda row: row["step"])["loss"]
        verdict = "; ".join(found) or "the same"
        print(f"{recipe:16} {stage:9} {len(new):3} lines, last loss {last!r}: {verdict}")
        same &= not found
    return same


def main() -> None:
    parser = argparse.ArgumentParser(description="losses of the recipes, now and at another commit")
    parser.add_argument("commit")
    parser.add_argument(
        "--work", type=Path, help="where both trainings are kept; a temporary folder if not given"
    )
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=[*RECIPES])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        code, work = Path(temporary) / "code", (args.work or Path(temporary) / "work").resolve()
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(code), args.commit], check=True)
        try:
            same = True
            for recipe in args.recipes:
                before, after = work / "before" / recipe, work / "after" / recipe
                bloomery(code, "prep", recipe, before)
                shutil.copytree(before / "dataset", after / "dataset")
                trained(code, recipe, before)
                trained(ROOT, recipe, after)
                same &= compare(recipe, before, after)
        finally:
            subprocess.run([*git, "remove", "--force", str(code)], check=True)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
