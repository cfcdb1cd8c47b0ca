"""The recipe's `tracking` section: what MLflow is told."""

from pydantic import Field, field_validator

from data_prep.contract.names import plain_name
from data_prep.contract.settings import Settings


class TrackingConfig(Settings):
    experiment: str = "bloomery"
    """MLflow experiment; beside a database the folder of its artifacts is called by it."""
    enabled: bool = True
    """Whether anything is sent to MLflow; metrics.jsonl is always written."""
    system_every: float = Field(10.0, ge=0.0)
    """Seconds between samples of processor, memory, disk, network and GPUs while training; 0 takes none."""

    @field_validator("experiment")
    @classmethod
    def _is_plain(cls, name: str) -> str:
        return plain_name(name.removeprefix("/"), "") and name
