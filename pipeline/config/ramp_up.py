"""A global batch that grows while training begins (Brown et al. 2020, appendix B)."""

from pydantic import PositiveInt

from data_prep.contract.settings import Settings


class RampUp(Settings):
    start: PositiveInt
    """Global batch of the first steps; the whole one must be a multiple of it, and all between are too."""
    steps: PositiveInt
    """Step from which the global batch is whole; before it, it grows linearly."""

    def batch(self, step: int, whole: int) -> int:
        """The global batch of a step, counted from 0.

        >>> [RampUp(start=4, steps=6).batch(step, 16) for step in range(8)]
        [4, 4, 8, 8, 12, 12, 16, 16]
        """
        larger = whole // self.start - 1
        return self.start * (1 + min(larger, step * larger // self.steps))

    def samples_before(self, step: int, whole: int) -> int:
        """Samples in all steps before one.

        >>> RampUp(start=4, steps=6).samples_before(3, 16)
        16
        """
        larger = whole // self.start - 1
        # The batch grows for the n-th time at step ceil(n x steps / larger).
        growths = (-(-n * self.steps // larger) for n in range(1, larger + 1))
        return self.start * (step + sum(max(0, step - growth) for growth in growths))
