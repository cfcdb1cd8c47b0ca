"""Where the threads of this process are: Python stacks, and what they say about a rank that waits.

    {"collective": "all_reduce", "layer": "Stack > blocks.3 > Attention", "line": "pipeline/..."}

Nothing is recorded while a run trains: the interpreter keeps the frames, and another thread may read them.
"""

import linecache
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from data_prep.contract.settings import Settings

HERE = Path(__file__).parents[2]
COLLECTIVES = ("torch/distributed/distributed_c10d.py", "torch/distributed/_functional_collectives.py")
PLUMBING = (
    "torch/distributed/",
    "torch/utils/_contextlib.py",
    "deepspeed/comm/",
    "deepspeed/utils/",
    "pipeline/distributed/gathering.py",
)
"""Code between those who want a collective and the collective."""
WAITS = {
    "a wait for a collective": (".wait(",),
    "a wait for the device": (".synchronize(", ".item(", ".tolist(", ".cpu(", "float("),
}
"""What innermost lines say that call no function of Python: on a GPU collectives run behind the code, and the
thread stops where it wants a number."""


class Frame(Settings):
    file: str
    """Path of the code, from the package's folder on."""
    line: int
    """Line number."""
    function: str
    """Name of the function."""
    text: str
    """The line."""
    module: str | None = None
    """The layer or module whose forward pass this is."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}: {self.text}"


class Place(Settings):
    collective: str | None = None
    """The collective that the thread waits in."""
    layer: str | None = None
    """The layers around it, from the outermost on; None outside of a forward pass."""
    line: str = ""
    """The innermost line that is neither torch's nor plumbing: who called."""

    def __str__(self) -> str:
        parts = [f"waits in {self.collective}" if self.collective else "computes or reads"]
        if self.layer:
            parts.append(f"in layer {self.layer}")
        return ", ".join([*parts, f"at {self.line}" if self.line else "at a place unknown"])


def main_thread() -> list[Frame]:
    """The stack of the main thread, outermost frame first."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return list(frames_of(frame))


def other_threads() -> dict[str, list[Frame]]:
    """The stacks of all other threads but the caller's, by name."""
    skipped = {threading.main_thread().ident, threading.get_ident()}
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        f"{names.get(ident, 'thread')} ({ident})": list(frames_of(frame))
        for ident, frame in sys._current_frames().items()
        if ident not in skipped
    }


def frames_of(frame: FrameType | None) -> Iterator[Frame]:
    """A frame and its callers, outermost first."""
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    for one in reversed(found):
        path, line = one.f_code.co_filename, one.f_lineno
        text = linecache.getline(path, line).strip()
        yield Frame(file=short(path), line=line, function=one.f_code.co_name, text=text, module=layer_of(one))


def short(path: str) -> str:
    """A path without the folders above the package: torch/nn/modules/module.py."""
    for root in ("site-packages/", f"{HERE}/", f"/lib/python{sys.version_info[0]}.{sys.version_info[1]}/"):
        if root in path:
            return path.rpartition(root)[2]
    return path


def layer_of(frame: FrameType) -> str | None:
    """The module whose `forward` a frame is: the name of a layer of the model, else the class."""
    if frame.f_code.co_name != "forward":
        return None
    owner = frame.f_locals.get("self")
    return None if owner is None else getattr(owner, "layer_name", type(owner).__name__)


def place_of(frames: list[Frame]) -> Place:
    """What a stack, outermost frame first, says of a rank that does not go on."""
    names = [frame.module for frame in frames if frame.module]
    layers = [name for place, name in enumerate(names) if name not in names[:place]]
    callers = [frame for frame in frames if not frame.file.startswith((*PLUMBING, "torch/"))]
    return Place(
        collective=collective_of(frames),
        layer=" > ".join(layers) or None,
        line=str(callers[-1]) if callers else "",
    )


def collective_of(frames: list[Frame]) -> str | None:
    """The collective that the innermost frames wait in, by the name its caller used."""
    if not frames:
        return None
    inner = len(frames)
    while inner and frames[inner - 1].file.startswith(PLUMBING):
        inner -= 1
    called = [
        frame.function
        for frame in frames[inner:]
        if frame.file in COLLECTIVES and frame.function != "wrapper"
    ]
    if called:
        return called[0]
    text = frames[-1].text
    return next((what for what, words in WAITS.items() if any(word in text for word in words)), None)
