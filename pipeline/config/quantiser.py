"""The key `vision.quantiser`: how a model that reads images says them in tokens."""

from pydantic import Field

from data_prep.contract.settings import Settings


class QuantiserConfig(Settings):
    codes: int = Field(8192, ge=2, le=1 << 24)
    """Codes of the codebook: a patch becomes the number of one of them."""
    code_size: int = Field(32, ge=1, le=1 << 14)
    """Numbers of a code; features are projected to so many, and both have length one."""
    commitment: float = Field(0.25, ge=0.0)
    """Weight of what draws features to their codes, beside what draws codes to their features."""
    spread: float = Field(0.01, ge=0.0)
    """Weight of what draws all codes to the features near them, so that none stays where no feature is; 0
    leaves unused codes alone."""
