"""The checkpoint of a run that has not been trained here: weights alone, float32."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from torch import Tensor

from data_prep.contract.receipt import versions, write_atomic
from pipeline.checkpoints.files import flush, write_tensors
from pipeline.checkpoints.format import Index, Part, TensorEntry
from pipeline.checkpoints.run_folder import INDEX
from pipeline.conversion import files


def write_checkpoint(folder: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """A complete checkpoint of step 0 that holds weights alone, in files of at most 5 GB."""
    folder.mkdir(parents=True)
    index = Index(
        step=0,
        updates=0,
        layout={"tensor": 1, "pipeline": 1, "data": 1},
        tensors={},
        files={},
        versions=versions("torch", "safetensors"),
    )
    for number, held in enumerate(_portions(tensors)):
        name = f"weights-{number:05d}.safetensors"
        flat = {one: tensor.contiguous().flatten() for one, tensor in held.items()}
        index.files[name] = write_tensors(folder / name, flat, lambda: None)
        for one, tensor in held.items():
            part = Part(number, 0, 0, tensor.numel())
            index.tensors[one] = TensorEntry(shape=list(tensor.shape), parts=[part])
    write_atomic(folder / INDEX, index.model_dump_json() + "\n")
    flush(folder)


def _portions(tensors: Iterable[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    held: dict[str, Tensor] = {}
    for name, tensor in tensors:
        if held and sum(one.nbytes for one in held.values()) + tensor.nbytes > files.SHARD_BYTES:
            yield held
            held = {}
        held[name] = tensor
    yield held
