"""A Hugging Face folder of an image model as a run of step 0, from which training goes on."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.receipt import Receipt, file_hash, fingerprint, versions, write_atomic, write_receipt
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.format import Checkpoint
from pipeline.checkpoints.run_folder import CLASSES, checkpoint_folder, write_config
from pipeline.config import PipelineConfig
from pipeline.conversion import files
from pipeline.conversion.agreement import Say
from pipeline.conversion.family import shown
from pipeline.conversion.links import Link, exported, imported
from pipeline.conversion.skeleton import shapes
from pipeline.conversion.step_zero import write_checkpoint
from pipeline.conversion.vision import agreement, tables
from pipeline.conversion.vision.export import PROCESSOR
from pipeline.conversion.vision.family import ImageFamily, Said

SINES_OFF = 1e-4
"""How far a folder's fixed positions may be from the sines that they are meant to be: they are float32."""


def import_images(
    family: ImageFamily, theirs: dict[str, Any], source: Path, out: Path, say: Say
) -> dict[str, Any]:
    """Write a run's folder of step 0; returns what was read and shown. `InputError` where it cannot be."""
    started, place = time.time(), str(source / files.CONFIG)
    config = family.read(theirs, out.name, place, colours_of(source))
    said = Said(labels_of(theirs, place), Vocabulary(source) if config.reads_text else None)
    tensors = Source(source, family)
    links = checked_links(family, config, said, tensors, family.rows(theirs, said.pieces, place))
    with files.appearing(out) as run:
        write_config(run, config)
        if said.vocabulary:
            write_atomic(run / TOKENIZER, said.vocabulary.content)
        if said.labels:
            write_atomic(run / CLASSES, json.dumps(said.labels))
        write_checkpoint(checkpoint_folder(run, 0), imported(links, tensors.__getitem__))
        checkpoint = Checkpoint(checkpoint_folder(run, 0))
        for name, tensor in imported(links, tensors.__getitem__):
            if not torch.equal(tensor, checkpoint.weight(name)):
                raise InputError(f"{source}: {name} does not come back as it was; nothing was written")
        say(f"{len(tensors.names)} tensors read back, every number equal")
        ours = [name for link in links for name in link.ours]
        weights: Iterator[tuple[str, Tensor]] = ((name, checkpoint.weight(name)) for name in ours)
        proof = agreement.check(family, config, said, weights, source, say)
        hashes = {name: file_hash(source / name) for name in sorted({*tensors.files.places.values()})}
        receipt = Receipt(
            stage="import",
            fingerprint=fingerprint("import", theirs, hashes, said.vocabulary and said.vocabulary.sha256),
            config=config.model_dump(mode="json"),
            inputs=hashes,
            counts={"steps": 0, "tensors": len(ours)},
            seconds=time.time() - started,
            versions=versions("torch", "safetensors"),
        )
        write_receipt(run, receipt)
    return {"model_type": family.model_type, "folder": str(out)} | proof


class Source:
    """A folder's tensors by their published names, float32 and finite."""

    def __init__(self, folder: Path, family: ImageFamily) -> None:
        self.files = files.Tensors(folder)
        self.names: dict[str, str] = {}
        for name in self.files.places:
            if name.startswith(family.ignored) or name.endswith(family.computed):
                continue
            published = name
            for before, after in family.renamed:
                published = published.replace(before, after)
            self.names[published] = name

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.files[self.names[name]].float()
        if not tensor.isfinite().all():
            raise InputError(f"{self.files.folder}: {name} has values that are no finite numbers")
        return tensor


def checked_links(
    family: ImageFamily, config: PipelineConfig, said: Said, source: Source, rows: int
) -> list[Link]:
    """Ours and theirs, whose word table has so many rows.

    `InputError` for a tensor that is missing, unknown or of another shape.
    """
    links = family.links(config, said.pieces)
    fixed, unused = tables.fixed(config), family.unused(config)
    wanted = {name for link in links for name in link.theirs} | set(fixed)
    folder = source.files.folder
    for problem, names in (
        ("is missing", wanted - set(source.names)),
        ("is not known", set(source.names) - wanted - set(unused)),
    ):
        if names:
            raise InputError(f"{folder}: {min(names)} {problem}; a {family.class_name} is expected")
    made = {name: torch.empty(shape, device="meta") for name, shape in shapes(config, rows).items()}
    for name, tensor in exported(family.links(config, rows), made.__getitem__):
        if list(source[name].shape) != list(tensor.shape):
            raise InputError(
                f"{folder}: {name} has the shape {list(source[name].shape)}; config.json makes it "
                f"{list(tensor.shape)}"
            )
    for name, table in fixed.items():
        found = source[name]
        if found.shape != table.shape or not torch.allclose(found, table, atol=SINES_OFF):
            raise InputError(f"{folder}: {name} are not the sines and cosines of {family.model_type}")
    return links


def colours_of(source: Path) -> Mapping[str, Any]:
    """Mean and deviation of colours, where the folder says them."""
    path = source / PROCESSOR
    if not path.is_file():
        return {}
    said = files.read_json(path)
    names = {"mean": "image_mean", "std": "image_std"}
    return {ours: said[theirs] for ours, theirs in names.items() if said.get(theirs) is not None}


def labels_of(theirs: dict[str, Any], place: str) -> tuple[str, ...]:
    """The names of classes by their numbers."""
    named = theirs.get("id2label") or {}
    if not isinstance(named, dict):
        raise InputError(f"{place}: id2label is {shown(named)}; a mapping is expected")
    try:
        return tuple(str(named[key]) for key in sorted(named, key=int))
    except ValueError:
        raise InputError(f"{place}: id2label has keys that are no numbers") from None
