"""The section of a recipe that says how a training is kept going."""

from pydantic import Field, NonNegativeFloat

from data_prep.contract.settings import Settings


class SuperviseConfig(Settings):
    restarts: int = Field(3, ge=0)
    """Restarts in a row without a new step after which a training that fails is given up."""
    backoff_seconds: NonNegativeFloat = 5.0
    """Wait before a restart; doubled with each one that brings no new step, to five minutes at most."""
    fewer_hosts: bool = True
    """Over hosts: whether to go on without those that do not answer; false counts that as a failure."""
