"""A number for a text or a pair of texts, such as how alike they are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.settings import InputError
from pipeline.objectives.batches import Batch
from pipeline.tasks import words
from pipeline.tasks.measures import Measure, mean, moments, pearson
from pipeline.tasks.rows import Row
from pipeline.tasks.settings import TaskSettings, TextsSettings
from pipeline.tasks.task import Feature, Learned, Prediction
from pipeline.tasks.texts import Texts, texts_of

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.layer import Flow


class RegressionSettings(TextsSettings):
    kind: Literal["regression"] = "regression"
    score: str = "score"
    """Column of the number."""


class Regression(Texts):
    """Squared error of numbers, which are learned with mean 0 and deviation 1; correlations measure them."""

    name: ClassVar[str] = "regression"
    settings_class: ClassVar[type[TaskSettings]] = RegressionSettings
    main = "pearson"
    settings: RegressionSettings

    def __init__(self, settings: RegressionSettings, learned: Learned, *others: Any) -> None:
        super().__init__(settings, learned, *others)
        self.settings = settings
        self.mean, self.deviation = float(learned["mean"]), float(learned["deviation"])

    @classmethod
    def learn(cls, settings: TaskSettings, rows: Sequence[Row], where: str) -> Learned:
        """Mean and deviation of the numbers."""
        assert isinstance(settings, RegressionSettings)
        found = np.array([row.number(settings.score) for row in rows])
        if len(set(found.tolist())) < 2:
            raise InputError(
                f"{where}: {settings.score} is {found[0]:g} in every row; at least two numbers are needed"
            )
        return {"mean": float(found.mean()), "deviation": float(found.std())}

    @classmethod
    def group(cls, settings: TaskSettings, row: Row) -> tuple[str, str]:
        """Equal texts."""
        assert isinstance(settings, TextsSettings)
        return "\n".join(texts_of(settings, row)), ""

    def wanted(self, row: Row) -> tuple[float, float]:
        """The number as it is learned."""
        return (row.number(self.settings.score) - self.mean) / self.deviation, 1.0

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    def targets(self, features: Sequence[Feature], width: int) -> Batch:
        """Numbers [B]."""
        del width
        return {"targets": np.array([one.target for one in features], np.float32)}

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """Weighted squared error."""
        apart_B = outputs["scores"][:, 0].float() - labels["targets"]
        return (apart_B.square() * labels["weights"]).sum(), {}

    def predictions(
        self, rows: Sequence[Row], features: Sequence[Feature], raw: Sequence[NDArray[np.float32]]
    ) -> list[Prediction]:
        """Numbers on the scale of the rows."""
        del rows, features
        return [{"value": float(one[0]) * self.deviation + self.mean} for one in raw]

    def measures(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[Measure]:
        """Pearson's and Spearman's correlation, and the root of the mean squared error.

        Intervals of Spearman's are of the ranks among all rows, which are not ranked anew when rows are
        drawn again.
        """
        from scipy.stats import rankdata

        wanted = np.array([row.number(self.settings.score) for row in rows])
        found = np.array([one["value"] for one in predictions])
        squares = mean("mean_squared_error", (wanted - found) ** 2)
        return [
            Measure("pearson", moments(wanted, found), pearson),
            Measure("spearman", moments(rankdata(wanted), rankdata(found)), pearson),
            Measure("root_mean_squared_error", squares.sums, lambda sums: np.sqrt(squares.combine(sums))),
        ]

    def baselines(self, train: Sequence[Row], rows: Sequence[Row]) -> dict[str, list[Prediction]]:
        """The mean of the training rows, and ridge regression on words."""
        values = [row.number(self.settings.score) for row in train]
        found = words.regress([self.read(one) for one in train], values, [self.read(one) for one in rows])
        return {
            "mean": [{"value": self.mean}] * len(rows),
            "bag of words": [{"value": float(one)} for one in found],
        }

    def compare(self, row: Row, prediction: Prediction) -> tuple[float, str, str]:
        """How far off."""
        wanted = row.number(self.settings.score)
        return abs(wanted - prediction["value"]), f"{wanted:g}", f"{prediction['value']:.2f}"
