"""Training small matrices beside frozen ones (Hu et al. 2022)."""

from pydantic import Field, PositiveFloat, PositiveInt

from data_prep.contract.settings import Settings


class LoRA(Settings):
    rank: PositiveInt = 8
    """Width between the two matrices of an adapter."""
    alpha: PositiveFloat = 16.0
    """What an adapter gives is multiplied by alpha / rank."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Dropout probability on what adapters read."""
    targets: list[str] = Field(default_factory=lambda: ["*blocks.*"])
    """Patterns (* and ?) of the linear layers that get adapters, such as *.attention.*."""
    also: list[str] = Field(default_factory=list)
    """Patterns of other parameters that are trained, whole, such as those of a new head."""

    @property
    def scale(self) -> float:
        """Factor on what an adapter gives."""
        return self.alpha / self.rank
