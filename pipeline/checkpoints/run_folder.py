"""The folder of a run: its configuration and where its checkpoints lie.

run/config.yaml  tokenizer.model  identity.json  metrics.jsonl  checkpoints/step-N/  receipt.json
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from data_prep.contract.problems import first_problem
from data_prep.contract.reading import read_json, read_yaml
from data_prep.contract.receipt import write_atomic
from data_prep.contract.settings import InputError
from pipeline.config import OptimizerConfig, PipelineConfig

IDENTITY = "identity.json"
CONFIG = "config.yaml"
CLASSES = "classes.json"
"""Of a run that tells images apart: the names of its classes, in the order of their numbers."""
AGENT = "agent.json"
"""Of a run of an agent: the ids of all that it reads and says, and its tasks."""
INDEX = "checkpoint.json"
"""In a checkpoint's folder: what it holds, with the hash of each of its files."""


def checkpoint_folder(run: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return run / "checkpoints" / f"step-{step:06d}"


def saved_steps(run: Path) -> list[int]:
    """The steps of a run's complete checkpoints, oldest first."""
    names = (path.name.removeprefix("step-") for path in (run / "checkpoints").glob("step-*"))
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def read_config(run: Path) -> PipelineConfig:
    """The resolved configuration that a run was made with."""
    path = run / CONFIG
    try:
        return PipelineConfig.model_validate(_known(read_yaml(path), run))
    except InputError:
        if path.exists():
            raise
        raise InputError(f"{run}: not a run (no {CONFIG})") from None
    except ValidationError as error:
        raise InputError(f"{path}: not the configuration of a run ({first_problem(error)})") from error


def identity_of(run: Path) -> dict[str, Any]:
    """What a run's folder says it is of; empty without a file."""
    path = run / IDENTITY
    if not path.is_file():
        return {}
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("fingerprint"), str):
        raise InputError(f"{path}: a run's stage and fingerprint are expected; move the folder elsewhere")
    return found


def _known(plain: Any, run: Path) -> Any:
    """What is read of a configuration: of a training's own keys those that every training has.

    Runs from before stages had names have the sections of all of a recipe's stages.
    """
    if not isinstance(plain, dict):
        return plain
    old = {name: plain.pop(name) for name in ("tune", "eval") if name in plain}
    if old and (run / IDENTITY).is_file() and identity_of(run).get("stage") == "tune":
        plain["train"] = old["tune"]
    if isinstance(plain.get("train"), dict):
        given = OptimizerConfig.with_new_names(plain["train"])
        plain["train"] = {name: given[name] for name in given if name in OptimizerConfig.model_fields}
    return plain


def write_config(run: Path, config: PipelineConfig) -> None:
    """Leave the resolved configuration in a run's folder."""
    write_atomic(run / CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
