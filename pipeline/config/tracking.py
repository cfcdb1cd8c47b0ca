"""The recipe's `tracking` section: what MLflow is told."""

from pydantic import Field

from data_prep.contract.settings import Settings


class TrackingConfig(Settings):
    experiment: str = "bloomery"
    """MLflow experiment."""
    enabled: bool = True
    """Whether anything is sent to MLflow; metrics.jsonl is always written."""
    system_every: float = Field(10.0, ge=0.0)
    """Seconds between samples of processor, memory, disk, network and GPUs while training; 0 takes none."""
