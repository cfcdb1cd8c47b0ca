"""Runs pieces one after the other and prints what each has found; `tests.gpu.all` starts and watches it.

    python -m tests.gpu.worker --out DIR [--tiny] NAME ...

Each piece is two lines of JSON on stdout, behind a mark: that it begins, and what came of it. A piece that
raises says so, and the next one begins.
"""

import argparse
import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch

from launch.quiet import quieten
from tests.gpu.pieces import Setting, pieces

MARK = "tests.gpu "


def say(**line: Any) -> None:
    """Tell the process that watches."""
    print(MARK + json.dumps(line), flush=True)


def main() -> None:
    """Run the pieces that are named."""
    quieten()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    setting = Setting(options.tiny, options.out)
    known = {piece.name: piece for piece in pieces()}
    for name in options.names:
        say(begins=name)
        try:
            found = known[name].run(setting)
            say(done=name, found=found)
        except torch.OutOfMemoryError:
            say(failed=name, reason="does not fit into memory")
        except Exception as error:
            last = str(error).strip().splitlines() or [""]
            say(failed=name, reason=f"{type(error).__name__}: {last[0][:200]}")
        gc.collect()


if __name__ == "__main__":
    sys.exit(main())
