"""One of several answers to a text: each is read with the text, and the likeliest is chosen (SWAG's form)."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.objectives.batches import Batch
from pipeline.tasks.measures import Measure, calibration, mean
from pipeline.tasks.rows import Row
from pipeline.tasks.settings import TaskSettings
from pipeline.tasks.task import Feature, Learned, Prediction, Task, softmax

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.layer import Flow

MOST_CHOICES = 64


class ChoiceSettings(TaskSettings):
    kind: Literal["multiple_choice"] = "multiple_choice"
    text: str = "text"
    """Column of what all choices go with."""
    choices: str | list[str] = "choices"
    """Column of a list of texts, or the columns of one text each."""
    answer: str = "answer"
    """Column of the right choice's number, from 0."""


class MultipleChoice(Task):
    """Cross-entropy over the choices of a row; rows may have different numbers of them."""

    name: ClassVar[str] = "multiple_choice"
    settings_class: ClassVar[type[TaskSettings]] = ChoiceSettings
    main = "accuracy"
    form = "choices"
    settings: ChoiceSettings

    def __init__(self, settings: ChoiceSettings, learned: Learned, *others: Any) -> None:
        super().__init__(settings, learned, *others)
        self.settings = settings

    @classmethod
    def learn(cls, settings: TaskSettings, rows: Sequence[Row], where: str) -> Learned:
        """The most choices of a row, and how often each place is right."""
        assert isinstance(settings, ChoiceSettings)
        counts = Counter(answer_of(settings, row) for row in rows)
        return {
            "choices": max(len(choices_of(settings, row)) for row in rows),
            "answers": {str(place): counts[place] for place in sorted(counts)},
        }

    def features(self, row: Row, index: int, wanted: bool = True) -> list[Feature]:
        """A pair for each choice."""
        first = self.vocabulary.encode(row.text(self.settings.text))
        made = [self.frame.make(first, self.vocabulary.encode(one)) for one in choices_of(self.settings, row)]
        target = answer_of(self.settings, row) if wanted else 0
        return [Feature(index, tuple(one for one, _ in made), target, 1.0, any(cut for _, cut in made))]

    def batch(self, features: Sequence[Feature], among: Sequence[Feature]) -> Batch:
        """Rows of `tokens` are the choices of all rows, each filled up to the most that any row has."""
        most = max(self.learned["choices"], *(len(one.texts) for one in features))
        filled = [
            Feature(one.row, (*one.texts, *[one.texts[0]] * (most - len(one.texts))), one.target, one.weight)
            for one in features
        ]
        there = np.array([[place < len(one.texts) for place in range(most)] for one in features], np.int64)
        return super().batch(filled, among) | {"there": there}

    def targets(self, features: Sequence[Feature], width: int) -> Batch:
        """Numbers of right choices [B]."""
        del width
        return {"targets": np.array([one.target for one in features], np.int64)}

    @property
    def labels(self) -> tuple[str, ...]:
        """With which of the choices [B, N] are there."""
        return ("targets", "weights", "there")

    @property
    def outputs(self) -> int:
        """One score a choice."""
        return 1

    @property
    def metrics(self) -> tuple[str, ...]:
        """Of training batches."""
        return ("accuracy",)

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """Weighted cross-entropy over choices."""
        from pipeline.objectives.losses import weighted_classes

        there_BN = labels["there"].bool()
        scores_BN = outputs["scores"].float().view(there_BN.shape).masked_fill(~there_BN, -1e9)
        loss, right = weighted_classes(scores_BN, labels["targets"], labels["weights"])
        return loss, {"accuracy": right}

    def raw(self, scores: "Tensor", features: Sequence[Feature]) -> "list[NDArray[np.float32]]":
        """Scores [N] of each row's choices."""
        table = scores.float().cpu().numpy().reshape(len(features), -1)
        return [table[line, : len(one.texts)] for line, one in enumerate(features)]

    def predictions(
        self, rows: Sequence[Row], features: Sequence[Feature], raw: Sequence[NDArray[np.float32]]
    ) -> list[Prediction]:
        """The choice, its text and all probabilities."""
        del features
        return [self._prediction(row, softmax(one)) for row, one in zip(rows, raw, strict=True)]

    def _prediction(self, row: Row, shares: NDArray[np.float64]) -> Prediction:
        best = int(shares.argmax())
        text = choices_of(self.settings, row)[best]
        return {"choice": best, "text": text, "score": float(shares[best]), "scores": shares.tolist()}

    def measures(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[Measure]:
        """Share of right choices."""
        pairs = zip(rows, predictions, strict=True)
        return [mean("accuracy", [answer_of(self.settings, row) == one["choice"] for row, one in pairs])]

    def baselines(self, train: Sequence[Row], rows: Sequence[Row]) -> dict[str, list[Prediction]]:
        """The place that is right most often, and the choice that shares most words with the text."""
        del train
        place = int(max(self.learned["answers"], key=self.learned["answers"].get))
        counts = [len(choices_of(self.settings, row)) for row in rows]
        return {
            "commonest place": [{"choice": min(place, count - 1)} for count in counts],
            "shared words": [{"choice": self._nearest(row)} for row in rows],
        }

    def _nearest(self, row: Row) -> int:
        known = set(row.text(self.settings.text).lower().split())
        found = [set(one.lower().split()) for one in choices_of(self.settings, row)]
        return int(np.argmax([len(known & one) / max(1, len(one)) for one in found]))

    def details(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> dict[str, Any]:
        """How far probabilities can be believed."""
        pairs = zip(rows, predictions, strict=True)
        right = [answer_of(self.settings, row) == one["choice"] for row, one in pairs]
        return {"calibration": calibration([one["score"] for one in predictions], right)}

    def compare(self, row: Row, prediction: Prediction) -> tuple[float, str, str]:
        """A wrong choice counts by its probability."""
        wanted = answer_of(self.settings, row)
        wrong = wanted != prediction["choice"]
        return wrong * prediction["score"], choices_of(self.settings, row)[wanted], prediction["text"]

    def show(self, row: Row) -> str:
        """The text and the choices."""
        return "\n- ".join([row.text(self.settings.text), *choices_of(self.settings, row)])


def choices_of(settings: ChoiceSettings, row: Row) -> list[str]:
    """The texts to choose from. `InputError` where there are fewer than two, too many or an empty one."""
    if isinstance(settings.choices, list):
        return [row.text(column) for column in settings.choices]
    found = [one.strip() for one in row.texts(settings.choices)]
    if not 2 <= len(found) <= MOST_CHOICES or not all(found):
        raise row.wrong(settings.choices, found, f"2 to {MOST_CHOICES} texts that are not empty are expected")
    return found


def answer_of(settings: ChoiceSettings, row: Row) -> int:
    """The right choice's number. `InputError` where there is no choice of this number."""
    count, found = len(choices_of(settings, row)), row.label(settings.answer)
    if not found.isdigit() or int(found) >= count:
        raise row.wrong(settings.answer, found, f"the number of a choice, 0 to {count - 1}, is expected")
    return int(found)
