"""`bloomery import`: a Hugging Face folder as a run's folder, from which training, tuning and the rest go on.

config.yaml  tokenizer.model  receipt.json  checkpoints/step-000000/ (weights alone, float32)

The tokenizer is what the folder has, packed with what its files say of it: tokenizer.json or a SentencePiece
model.
"""

import time
from pathlib import Path
from typing import Any

import torch

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.receipt import Receipt, file_hash, fingerprint, versions, write_atomic, write_receipt
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import checkpoint_folder, write_config
from pipeline.conversion import agreement, files
from pipeline.conversion.agreement import Say
from pipeline.conversion.reading import read_folder
from pipeline.conversion.step_zero import write_checkpoint
from pipeline.conversion.tokenizer_check import compare_files
from pipeline.conversion.vision.choose import image_family_named
from pipeline.conversion.vision.imports import import_images


def import_folder(source: Path, out: Path, say: Say) -> dict[str, Any]:
    """Write a run's folder of step 0; returns what was read and shown. `InputError` where it cannot be."""
    started = time.time()
    theirs = files.read_json(source / files.CONFIG)
    if (of_images := image_family_named(theirs)) is not None:
        return import_images(of_images, theirs, source, out, say)
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
