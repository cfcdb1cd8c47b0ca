"""Raw streams whose bytes come in pieces of any size."""

import io
from typing import Any


class RawPieces(io.RawIOBase):
    """A stream of what `_piece` gives, one piece after the other."""

    _ready = memoryview(b"")
    """What is left of the last piece."""

    def _piece(self, size: int) -> bytes:
        """The next bytes, any number of them; none at the end. `size` is how many are asked for."""
        raise NotImplementedError

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._ready = self._ready or memoryview(self._piece(len(buffer)))
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count
