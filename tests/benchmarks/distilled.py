"""DistilBERT's student beside the same student without a teacher, over several seeds.

    python -m tests.benchmarks.distilled --work DIR [--seeds 3]

Runs launch/recipes/distilbert.yaml, then both students again with other seeds on its dataset and its teacher.
Prints each one's loss on hidden tokens of held-out text, and last `distilled gain=0.21`, by how many nats the
one with a teacher is better, with the 95 % interval of the mean over seeds (Student's t). --set overrides a
key of the recipe.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy import stats

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "launch" / "recipes" / "distilbert.yaml"
STUDENTS = ("alone", "student")


def main() -> None:
    """Run the recipe once a seed, print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for runs")
    parser.add_argument("--seeds", type=int, default=3, help="how often both students are trained")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key")
    given = parser.parse_args()
    first = given.work.resolve() / "1"
    losses = []
    for seed in range(1, given.seeds + 1):
        own = [f"seed={seed}"] if seed == 1 else beside(first, seed)
        run(given.work / str(seed), [*own, *given.set])
        losses.append(measured(given.work / str(seed)))
        told = "  ".join(f"{name} {loss:.4f}" for name, loss in losses[-1].items())
        print(f"seed {seed}: loss on hidden tokens  {told}", flush=True)
    gains = np.array([one["alone"] - one["student"] for one in losses])
    if len(gains) > 1:
        low, high = stats.t.interval(0.95, len(gains) - 1, gains.mean(), stats.sem(gains))
        print(f"gain of a teacher: {gains.mean():.4f} nats, 95 % interval {low:.4f} to {high:.4f}")
    print(f"distilled gain={gains.mean():.4f}")


def beside(first: Path, seed: int) -> list[str]:
    """What another seed takes from the first one's work folder."""
    data = [f"stages.{name}.data={first / 'dataset'}" for name in (*STUDENTS, "report")]
    runs = f"stages.report.of=[{first / 'teacher'}, alone, student]"
    return [f"seed={seed}", *data, f"stages.student.teacher={first / 'teacher'}", runs]


def run(work: Path, overrides: list[str]) -> None:
    """The stages that end in the report."""
    command = [sys.executable, "-c", "from launch.start import main; main()", "run", str(RECIPE)]
    command += ["--work", str(work), "--stage", "report"]
    for one in [*overrides, "tracking.enabled=false"]:
        command += ["--set", one]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def measured(work: Path) -> dict[str, float]:
    """The validation loss of each model."""
    runs = json.loads((work / "report" / "results.json").read_text())["runs"]
    return {name: found["validation"]["loss"] for name, found in runs.items()}


if __name__ == "__main__":
    main()
