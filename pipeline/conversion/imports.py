"""`bloomery import`: a Hugging Face folder as a run's folder, from which training, tuning and the rest go on.

config.yaml  tokenizer.model  receipt.json  checkpoints/step-000000/ (weights alone, float32)

The tokenizer is what the folder has, packed with what its files say of it: tokenizer.json or a SentencePiece
model.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.receipt import Receipt, file_hash, fingerprint, versions, write_atomic, write_receipt
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.files import flush, write_tensors
from pipeline.checkpoints.format import Checkpoint, Index, Part, TensorEntry
from pipeline.checkpoints.run_folder import INDEX, checkpoint_folder, write_config
from pipeline.conversion import agreement, files
from pipeline.conversion.agreement import Say
from pipeline.conversion.reading import read_folder
from pipeline.conversion.tokenizer_check import compare_files


def import_folder(source: Path, out: Path, say: Say) -> dict[str, Any]:
    """Write a run's folder of step 0; returns what was read and shown. `InputError` where it cannot be."""
    started = time.time()
    theirs = files.read_json(source / files.CONFIG)
    vocabulary = Vocabulary(source)
    found = read_folder(source, vocabulary.size, out.name)
    if found.source.passed_over:
        say(f"{files.SINGLE} is read, as transformers does; {found.source.passed_over} beside it is not")
    if found.rows > vocabulary.size:
        say(f"{found.rows - vocabulary.size} rows of the word table are of no token and are left out")
    compare_files(vocabulary, say)
    with files.appearing(out) as run:
        write_config(run, found.config)
        write_atomic(run / TOKENIZER, vocabulary.content)
        write_checkpoint(checkpoint_folder(run, 0), found.tensors())
        checkpoint = Checkpoint(checkpoint_folder(run, 0))
        for name, tensor in found.tensors():
            if not torch.equal(tensor, checkpoint.weight(name)):
                raise InputError(f"{source}: {name} does not come back as it was; nothing was written")
        shown = agreement.check(found, found.config, checkpoint.weight, theirs, say)
        hashes = {name: file_hash(source / name) for name in sorted({*found.source.places.values()})}
        receipt = Receipt(
            stage="import",
            fingerprint=fingerprint("import", theirs, hashes, vocabulary.sha256),
            config=theirs,
            inputs=hashes,
            counts={"steps": 0, "tensors": len(found.names)},
            seconds=time.time() - started,
            versions=versions("torch", "safetensors"),
        )
        write_receipt(run, receipt)
    return {"model_type": found.family.model_type, "folder": str(out)} | shown


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
