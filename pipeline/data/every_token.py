"""The batches of pretraining, with a weight for every token beside those of the objective."""

from collections.abc import Iterator

from pipeline.data.pretraining import PretrainingBatches
from pipeline.objectives.batches import Batch
from pipeline.objectives.registry import objective_of


class EveryToken(PretrainingBatches):
    """The same batches with `token_weights` [B, S] float32: 1 at every token, 0 at padding."""

    def step(self, step: int) -> list[Batch]:
        """The micro batches of this rank at an optimizer step."""
        return [self._weighted(batch) for batch in super().step(step)]

    def validation(self) -> Iterator[Batch]:
        """This rank's share of the validation samples."""
        return (self._weighted(batch) for batch in super().validation())

    def _weighted(self, batch: Batch) -> Batch:
        objective = objective_of(self.maker.config.objective)
        return batch | {"token_weights": objective.every_token(batch)}
