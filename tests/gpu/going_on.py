"""Steps of a toy model on whatever device there is, from a checkpoint and to one.

    python -m tests.gpu.going_on FOLDER --model gpt --steps 6 [--from] [--save-at 3]

The last line is a JSON list: loss and gradient norm of each step, and the loss on a held-out batch.
"""

import argparse
import json
import sys
from pathlib import Path

from launch.quiet import quieten
from tests.distributed import toy
from tests.gpu.training import describe_world

MODELS = {"gpt": toy.GPT, "bert": toy.BERT, "t5": toy.T5}


def main() -> None:
    """Train, and print what was seen."""
    quieten()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=MODELS, default="gpt")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--from", dest="start_from", action="store_true")
    parser.add_argument("--save-at", type=int, default=0)
    options = parser.parse_args()
    describe_world()
    config = toy.config(MODELS[options.model], steps=options.steps)
    seen = toy.train(config, options.folder, options.start_from, options.save_at)
    print(json.dumps([float(value) for value in seen]))


if __name__ == "__main__":
    sys.exit(main())
