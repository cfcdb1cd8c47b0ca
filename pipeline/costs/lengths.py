"""How long the sequences are that a model computes on: what its costs depend on beside its sizes."""

from typing import NamedTuple


class Lengths(NamedTuple):
    """Tokens of a sample."""

    inputs: int
    """In the first stack: an encoder's, or a lone decoder's."""
    targets: int = 0
    """In the decoder behind an encoder; 0 where there is none."""
