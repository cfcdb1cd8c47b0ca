"""The folder of a run: its configuration and where its checkpoints lie.

run/config.yaml  tokenizer.model  identity.json  metrics.jsonl  checkpoints/step-N/  receipt.json
"""

from pathlib import Path

import yaml
from pydantic import ValidationError

from data_prep.contract.receipt import write_atomic
from data_prep.contract.settings import InputError
from pipeline.config import PipelineConfig

IDENTITY = "identity.json"
CONFIG = "config.yaml"
INDEX = "checkpoint.json"
"""In a checkpoint's folder: what it holds, with the hash of each of its files."""


def checkpoint_folder(run: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return run / "checkpoints" / f"step-{step:06d}"


def saved_steps(run: Path) -> list[int]:
    """The steps of a run's complete checkpoints, oldest first."""
    return sorted(int(path.name.split("-")[1]) for path in (run / "checkpoints").glob("step-*"))


def read_config(run: Path) -> PipelineConfig:
    """The resolved configuration that a run was made with."""
    path = run / CONFIG
    try:
        return PipelineConfig.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise InputError(f"{run}: not a run (no {CONFIG})") from None
    except (ValidationError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not the configuration of a run ({error})") from error


def write_config(run: Path, config: PipelineConfig) -> None:
    """Leave the resolved configuration in a run's folder."""
    write_atomic(run / CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
