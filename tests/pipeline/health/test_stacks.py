"""What a stack says of a thread: the layer it is in, the collective it waits in, who called that."""

import sys
import threading

import pytest
import torch
from torch import Tensor, nn

from pipeline.health.stacks import Frame, frames_of, main_thread, other_threads, place_of
from pipeline.parallel import stack
from tests.distributed import toy

C10D = "torch/distributed/distributed_c10d.py"


def frame(file: str, function: str, text: str = "") -> Frame:
    return Frame(file=file, line=1, function=function, text=text)


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ([frame(C10D, "all_reduce", "work.wait()")], "all_reduce"),
        ([frame(C10D, "all_gather_object"), frame(C10D, "all_gather", "work.wait()")], "all_gather_object"),
        (
            [
                frame("deepspeed/comm/comm.py", "all_reduce"),
                frame("torch/distributed/c10d_logger.py", "wrapper"),
                frame(C10D, "all_reduce", "work.wait()"),
            ],
            "all_reduce",
        ),
        ([frame("deepspeed/runtime/pipe/p2p.py", "wait", "handle.wait()")], "a wait for a collective"),
        ([frame("pipeline/parallel/engine.py", "_mean", "return float(total)")], "a wait for the device"),
        ([frame("pipeline/data/reader.py", "read", "file.read(size)")], None),
        ([frame(C10D, "all_reduce"), frame("pipeline/x.py", "f", "time.sleep(1)")], None),
    ],
)
def test_the_collective_by_the_name_its_caller_used(inner: list[Frame], expected: str | None) -> None:
    outer = [frame("launch/train.py", "main"), frame("pipeline/training/trainer.py", "run", "train_step()")]
    place = place_of([*outer, *inner])
    assert place.collective == expected
    if expected and "deepspeed/comm" in inner[0].file:
        assert "trainer.py:1 in run" in place.line


class Peeping(nn.Module):
    """A module that looks where its own thread is."""

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen = place_of(list(frames_of(sys._getframe())))
        return inputs


def test_the_layer_by_its_name_in_the_model() -> None:
    outer, inner = nn.Sequential(Peeping()), Peeping()
    layers = [Named("words", inner), Named("blocks.1", outer)]
    calls = stack.calls(layers, [one.module for one in layers], toy.config(toy.GPT).parallel)  # type: ignore[arg-type]
    for call in calls:
        call.function(torch.zeros(1))  # type: ignore[arg-type]
    assert inner.seen.layer == "words"
    assert outer[0].seen.layer == "blocks.1 > Peeping"


class Named:
    """As much of a layer as `calls` asks for."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module
        self.block, self.forward, self.ends = False, None, ()


def wait_somewhere(event: threading.Event) -> None:
    event.wait()


def test_stacks_of_all_threads() -> None:
    event = threading.Event()
    thread = threading.Thread(target=wait_somewhere, args=(event,), name="loader")
    thread.start()
    try:
        [found] = [frames for name, frames in other_threads().items() if name.startswith("loader")]
        assert any(one.function == "wait_somewhere" and one.text == "event.wait()" for one in found)
        assert main_thread()[-1].function == "main_thread"
        assert main_thread()[-1].file == "pipeline/health/stacks.py"
    finally:
        event.set()
        thread.join()
