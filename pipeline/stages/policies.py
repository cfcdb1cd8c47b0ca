"""What the kinds that start from a decoder's run and have files of their own in common."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.receipt import file_hash
from data_prep.contract.settings import InputError
from data_prep.contract.stages import DATASET, FILES, RUN, Input, Source, Stage
from pipeline.stages.files import PREFERENCES, TRAIN, VALIDATION
from pipeline.stages.instruct import mark_of
from pipeline.stages.training import Training, check_model, config_of, find_start

if TYPE_CHECKING:
    from pipeline.generation.load import LoadedModel
    from pipeline.preferences.prompts import Prompts
    from pipeline.training.job import Job

FROM = Input("from", (RUN,))
PROMPTS = Input("data", (PREFERENCES, FILES, DATASET), many=True)
COMPARISONS = Input("data", (PREFERENCES, FILES), many=True)
HELD_OUT = Input("validation", (FILES,), required=False, many=True)


def policy_job(kind: Training, stage: Stage, files: Sequence[tuple[str, Path]]) -> "Job":
    """A job that starts from a decoder's run and reads these files, each by its key in the recipe.

    Model and tokenizer are the run's. `InputError` where the run is no decoder's.
    """
    config = config_of(stage)
    if config.model.architecture != "decoder":
        raise InputError(
            f"{stage.name}: model.architecture {config.model.architecture} is not for the kind {kind.name}; "
            "decoder is"
        )
    source = stage.source("from")
    assert source is not None
    start, run = find_start(source)
    check_model(config, run, source.label)
    inputs = {"pretrained": mark_of(run, start)} | {key: hash_of(path) for key, path in files}
    return replace(kind.make_job(stage, None, inputs, start), tokenizer=run / TOKENIZER)


def comparison_files(stage: Stage) -> tuple[list[Path], list[Path]]:
    """Files to train on, and files to validate on where there are any."""
    train = [file_of(source, TRAIN) for source in stage.inputs["data"]]
    given = [source.path for source in stage.inputs.get("validation", ())]
    made = [file_of(source, VALIDATION) for source in stage.inputs["data"]]
    return train, given or [path for path in made if path.is_file() and path not in train]


def open_prompts(stage: Stage, model: "LoadedModel", max_tokens: int, held_out: int) -> "Prompts":
    """What a run is asked outside of a training. `InputError` where answers leave no room for a prompt."""
    from pipeline.preferences.prompts import Prompts

    longest = model.config.context_length - max_tokens
    if longest < 1:
        raise InputError(f"{stage.name}: max_tokens {max_tokens} leaves no room for a prompt")
    return Prompts(model.vocabulary, *comparison_files(stage), longest, held_out, stage.seed)


def file_of(source: Source, name: str) -> Path:
    """A file, or that of this name in a stage's folder; a dataset's are its instruction pairs."""
    if not (source.stage or source.path.is_dir()):
        return source.path
    inside = source.path / "instructions" / name
    return inside if inside.is_file() else source.path / name


def by_key(train: Sequence[Path], validation: Sequence[Path]) -> list[tuple[str, Path]]:
    """Files by what stands for them in the recipe: two may have one name."""
    named = {"data": train, "validation": validation}
    return [(f"{key}[{index}]", path) for key, paths in named.items() for index, path in enumerate(paths)]


def hash_of(path: Path) -> str:
    """A file's hash; `InputError` where it is not there."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; run the stage that makes it, or name a JSONL file")
    return file_hash(path)
