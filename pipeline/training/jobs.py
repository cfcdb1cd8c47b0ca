"""The jobs of a recipe: what goes into pretraining and tuning, and whose weights they start from.

A pretraining draws its weights, or starts from those of another run's checkpoint (`train.start_from`), be it
imported or trained here, with a new optimizer and schedule. Tuning starts from the work folder's pretraining.
"""

from pathlib import Path
from typing import Any

from data_prep.contract.dataset import TOKENIZER, Dataset
from data_prep.contract.receipt import file_hash, read_receipt
from data_prep.contract.settings import InputError
from pipeline.checkpoints.run_folder import INDEX, checkpoint_folder, read_config, saved_steps
from pipeline.config import PipelineConfig
from pipeline.conversion.family import Facts, differences
from pipeline.data.remote import open_dataset
from pipeline.training.job import Job
from pipeline.tuning.instructions import instruction_files


def pretraining(config: PipelineConfig, work: Path) -> Job:
    """The job of pretraining on the work folder's dataset.

    Raises `InputError` where it cannot start from the checkpoint that the recipe names.
    """
    dataset, target = Dataset(work / "dataset"), work / "pretrain"
    inputs = {"dataset": dataset.manifest.fingerprint}
    for entry in config.data.mixture:
        inputs[entry.dataset] = open_dataset(entry.dataset, config.data).manifest.fingerprint
    receipt = read_receipt(target)
    if receipt is not None and receipt.stage == "import":
        raise InputError(
            f"{target}: an imported model is where pretraining would write; move it elsewhere and name it as "
            "train.start_from"
        )
    if config.train.start_from is None:
        return Job("pretrain", work, config, config.train, dataset, inputs)
    start, run = begin_from(config.train.start_from)
    check_model(config, run)
    check_tokenizer(dataset, run)
    inputs["start_from"] = file_hash(start / INDEX)
    return Job("pretrain", work, config, config.train, dataset, inputs, start)


def tuning(config: PipelineConfig, work: Path) -> Job:
    """The job of tuning the work folder's pretrained model.

    Raises `InputError` where pretraining has not ended, there are no instructions or no answers to give.
    """
    if not config.can_answer:
        raise InputError(
            "model.architecture encoder has no answers to give, so there is nothing to tune; "
            "decoder and encoder_decoder have"
        )
    dataset, pretrained = Dataset(work / "dataset"), work / "pretrain"
    receipt = read_receipt(pretrained)
    if receipt is None:
        raise InputError(f"{pretrained}: pretraining has not ended; run `bloomery train` first")
    check_tokenizer(dataset, pretrained)
    train, validation = instruction_files(config, dataset.folder)
    inputs = {"dataset": dataset.manifest.fingerprint, "pretrained": receipt.fingerprint}
    inputs |= {path.name: file_hash(path) for path in [*train, *validation]}
    start_from = checkpoint_folder(pretrained, int(receipt.counts["steps"]))
    return Job("tune", work, config, config.tune, dataset, inputs, start_from)


def begin_from(path: Path) -> tuple[Path, Path]:
    """The checkpoint that `path` names, or the newest of the run that it names, and its run's folder."""
    if (path / "checkpoints").is_dir() and (steps := saved_steps(path)):
        return checkpoint_folder(path, steps[-1]), path
    if (path / INDEX).is_file():
        return path, path.resolve().parent.parent
    raise InputError(
        f"train.start_from {path}: no complete checkpoint there; a run or one of its checkpoints/step-N is "
        "expected"
    )


def inherited(path: Path) -> dict[str, dict[str, Any]]:
    """The sections that a recipe takes from the run it starts from, where it leaves their keys out."""
    config = read_config(begin_from(path)[1])
    model = config.model.model_dump(mode="json", exclude={"preset"})
    if config.model.positions == "learned":
        model["max_positions"] = config.position_table
    return {"model": model, "objective": config.objective.model_dump(mode="json")}


def check_model(config: PipelineConfig, run: Path) -> None:
    """`InputError` where the recipe's model is not the one whose weights it would start from."""
    theirs = read_config(run)
    found = differences(config.model, theirs.model, Facts(0))
    if config.model.positions == "learned" and config.position_table != theirs.position_table:
        found["max_positions"] = (config.position_table, theirs.position_table)
    if found:
        name, (ours, wanted) = next(iter(found.items()))
        raise InputError(
            f"model.{name} is {ours} and {wanted} in train.start_from {run}; leave the key out to have the "
            "checkpoint's"
        )


def check_tokenizer(dataset: Dataset, run: Path) -> None:
    """`InputError` where a dataset has other tokens than a run was trained with."""
    if file_hash(run / TOKENIZER) != dataset.manifest.tokenizer_sha256:
        raise InputError(
            f"{dataset.folder}: made with another tokenizer than {run}; prepare it with tokenizer.model={run}"
        )
