"""One label for a text or a pair of texts."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.reading import printable
from data_prep.contract.settings import InputError
from pipeline.objectives.batches import Batch
from pipeline.tasks import words
from pipeline.tasks.measures import (
    Measure,
    accuracy,
    calibration,
    confusions,
    f1,
    macro_f1,
    matthews,
    square,
)
from pipeline.tasks.rows import Row
from pipeline.tasks.settings import LabelledSettings, TaskSettings
from pipeline.tasks.task import Feature, Learned, Prediction, softmax
from pipeline.tasks.texts import Texts

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.layer import Flow

MOST_LABELS = 1000


class ClassificationSettings(LabelledSettings):
    kind: Literal["classification"] = "classification"


def count_labels(found: Sequence[str], where: str) -> Learned:
    """Labels in order with their counts. `InputError` where there are fewer than two, or too many."""
    counts = Counter(found)
    if len(counts) < 2:
        only = f"one label alone, {printable(next(iter(counts)))!r}" if counts else "no rows"
        raise InputError(f"{where}: {only}; at least two labels are needed to learn which is which")
    if len(counts) > MOST_LABELS:
        raise InputError(
            f"{where}: {len(counts):,} different labels; at most {MOST_LABELS:,} are taken for labels, so "
            "another column may be meant"
        )
    numbers = all(one.lstrip("-").isdigit() for one in counts)
    return {"labels": {one: counts[one] for one in sorted(counts, key=int if numbers else str)}}


class Classification(Texts):
    """Cross-entropy of labels; accuracy, F1 and Matthews' correlation."""

    name: ClassVar[str] = "classification"
    settings_class: ClassVar[type[TaskSettings]] = ClassificationSettings
    main = "accuracy"
    settings: ClassificationSettings

    def __init__(self, settings: ClassificationSettings, learned: Learned, *others: Any) -> None:
        super().__init__(settings, learned, *others)
        self.settings, self.labels_known = settings, list(learned["labels"])
        self.number = {label: index for index, label in enumerate(self.labels_known)}
        self.weights = class_weights(settings.class_weights, learned["labels"])

    @classmethod
    def learn(cls, settings: TaskSettings, rows: Sequence[Row], where: str) -> Learned:
        """The labels and how often each is there."""
        assert isinstance(settings, ClassificationSettings)
        return count_labels([row.label(settings.label) for row in rows], where)

    def wanted(self, row: Row) -> tuple[int, float]:
        """The label's number."""
        label = row.label(self.settings.label)
        if label not in self.number:
            known = ", ".join(self.labels_known[:10])
            raise InputError(
                f"{row.where}: the label {printable(label)[:80]!r} is in no training row; they have "
                f"{printable(known)}"
            )
        return self.number[label], self.weights[self.number[label]]

    @property
    def outputs(self) -> int:
        """A score a label."""
        return len(self.labels_known)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Of training batches."""
        return ("accuracy",)

    def targets(self, features: Sequence[Feature], width: int) -> Batch:
        """Numbers of labels [B]."""
        del width
        return {"targets": np.array([one.target for one in features], np.int64)}

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """Weighted cross-entropy and accuracy."""
        from pipeline.objectives.losses import weighted_classes

        smoothing = self.config.objective.label_smoothing
        loss, right = weighted_classes(outputs["scores"], labels["targets"], labels["weights"], smoothing)
        return loss, {"accuracy": right}

    def predictions(
        self, rows: Sequence[Row], features: Sequence[Feature], raw: Sequence[NDArray[np.float32]]
    ) -> list[Prediction]:
        """The likeliest label, its probability and those of all."""
        del features
        shares = softmax(np.stack(raw)) if rows else np.zeros((0, self.outputs))
        return self._as_predictions(shares)

    def _as_predictions(self, shares: NDArray[np.float64]) -> list[Prediction]:
        return [
            {
                "label": self.labels_known[int(one.argmax())],
                "score": float(one.max()),
                "scores": dict(zip(self.labels_known, map(float, one), strict=True)),
            }
            for one in shares
        ]

    def measures(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[Measure]:
        """Accuracy, F1 (of the second label where there are two, else the mean) and Matthews' correlation."""
        wanted = np.array([self.wanted(row)[0] for row in rows])
        found = np.array([self.number[one["label"]] for one in predictions])
        table = confusions(wanted, found, self.outputs)
        two = self.outputs == 2
        return [
            Measure("accuracy", table, accuracy),
            Measure("f1" if two else "macro_f1", table, (lambda sums: f1(sums, 1)) if two else macro_f1),
            Measure("matthews", table, matthews),
        ]

    def baselines(self, train: Sequence[Row], rows: Sequence[Row]) -> dict[str, list[Prediction]]:
        """The commonest label, and logistic regression on words."""
        counts = np.array(list(self.learned["labels"].values()), np.float64)
        common = np.zeros(self.outputs)
        common[counts.argmax()] = 1.0
        labels = [self.wanted(row)[0] for row in train]
        _, shares = words.classify(
            [self.read(one) for one in train], labels, [self.read(one) for one in rows]
        )
        shares = np.pad(shares, ((0, 0), (0, self.outputs - shares.shape[1])))
        return {
            "commonest label": self._as_predictions(np.tile(common, (len(rows), 1))),
            "bag of words": self._as_predictions(shares),
        }

    def details(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> dict[str, Any]:
        """Wanted labels by found ones, and how far probabilities can be believed."""
        wanted = np.array([self.wanted(row)[0] for row in rows])
        found = np.array([self.number[one["label"]] for one in predictions])
        table = square(confusions(wanted, found, self.outputs).sum(0))
        right = [bool(one) for one in wanted == found]
        collapsed = len(set(found.tolist())) == 1 and len(set(wanted.tolist())) > 1
        return {
            "confusion": {"labels": self.labels_known, "rows": table.astype(int).tolist()},
            "calibration": calibration([one["score"] for one in predictions], right),
        } | ({"collapsed": self.labels_known[int(found[0])]} if collapsed else {})

    def compare(self, row: Row, prediction: Prediction) -> tuple[float, str, str]:
        """A wrong label counts by its probability."""
        wanted = row.label(self.settings.label)
        wrong = wanted != prediction["label"]
        return wrong * prediction["score"], wanted, f"{prediction['label']} ({prediction['score']:.2f})"


def class_weights(wanted: str | dict[str, float], counts: dict[str, int]) -> list[float]:
    """A weight for each label. `InputError` where one is named that there is not."""
    if isinstance(wanted, dict):
        for label in wanted:
            if label not in counts:
                raise InputError(
                    f"task.class_weights: no label is called {printable(label)!r}; there is "
                    f"{printable(', '.join(counts))}"
                )
        return [float(wanted.get(label, 1.0)) for label in counts]
    if wanted == "none":
        return [1.0] * len(counts)
    return [sum(counts.values()) / (len(counts) * count) for count in counts.values()]
