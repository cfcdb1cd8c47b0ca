"""What a task is: its columns, the batches it makes, its head, its loss, its predictions and its measures.

One class a task, each in its own file; `pipeline.tasks.registry` finds it by the word in a recipe. To import
them needs no torch.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import ModelConfig, PipelineConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.loss import Loss
from pipeline.objectives.registry import objective_of
from pipeline.tasks.framing import Framed, filled_up, frame_of
from pipeline.tasks.measures import Measure
from pipeline.tasks.rows import Row
from pipeline.tasks.settings import TaskSettings

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.build import Builder
    from pipeline.models.layer import Layer

Prediction = dict[str, Any]
"""What is predicted of a row, as JSON has it."""
Learned = dict[str, Any]
"""What the training rows say of the task, such as its labels, as JSON has it."""


@dataclass(frozen=True)
class Feature:
    """What a model reads of a row; a long row may make several."""

    row: int
    """The row's number."""
    texts: tuple[Framed, ...]
    """One sample, or one for each choice."""
    target: Any = None
    """What is wanted."""
    weight: float = 1.0
    """Weight in the loss."""
    cut: bool = False
    """Whether the text has lost its end."""
    about: Any = None
    """What predictions need to know beside."""
    set: str = ""
    """Of which of several sets of data the row is."""

    @property
    def length(self) -> int:
        """Tokens of its longest sample."""
        return max(len(one.tokens) for one in self.texts)


class Task(Loss):
    """A task with its settings, for a model and its tokenizer."""

    name: ClassVar[str]
    """Its word in a recipe."""
    settings_class: ClassVar[type[TaskSettings]]
    architectures: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "encoder_decoder")
    """What models it has a head for."""
    main: str
    """The measure that tells which weights are best; the larger the better."""
    generates: ClassVar[bool] = False
    """Whether predictions are texts that the model generates, and it has no new head."""
    form: ClassVar[Literal["text", "tokens", "spans", "choices"]] = "text"
    """What transformers' class for it says something of."""
    settings: TaskSettings

    def __init__(
        self, settings: TaskSettings, learned: Learned, config: PipelineConfig, vocabulary: Vocabulary
    ) -> None:
        if config.model.architecture not in self.architectures:
            raise InputError(
                f"task.kind {self.name} is for model.architecture {' or '.join(self.architectures)}; "
                f"this model is {config.model.architecture}"
            )
        self.learned, self.config, self.vocabulary = learned, config, vocabulary
        self.frame, self.objective = frame_of(config, vocabulary), objective_of(config.objective)

    @classmethod
    @abstractmethod
    def learn(cls, settings: TaskSettings, rows: Sequence[Row], where: str) -> Learned:
        """What the training rows say. `InputError` where nothing can be learned from them."""

    @classmethod
    def group(cls, settings: TaskSettings, row: Row) -> tuple[str, str]:
        """What is held out together, and what each side of a split should have in equal shares."""
        del settings
        return repr(sorted(row.values.items())), ""

    @abstractmethod
    def features(self, row: Row, index: int, wanted: bool = True) -> list[Feature]:
        """What the model reads of a row, with what is `wanted` of it."""

    def mixture(self, features: Sequence[Feature]) -> tuple[list[int], NDArray[np.float64]]:
        """How many of the training features each set of them has, one set behind the other, and its share."""
        return [len(features)], np.ones(1)

    def batch(self, features: Sequence[Feature], among: Sequence[Feature]) -> Batch:
        """The features as arrays, as wide as the longest `among` those that should have equal widths."""
        width = filled_up(max(one.length for one in among), self.frame.length)
        inputs = self.frame.batch([text for one in features for text in one.texts], width)
        weights = np.array([one.weight for one in features], np.float32)
        return inputs | self.targets(features, width) | {"weights": weights}

    @abstractmethod
    def targets(self, features: Sequence[Feature], width: int) -> Batch:
        """The labels of a batch, those of the loss but `weights` [B]."""

    def head(self, build: "Builder") -> "list[Layer]":
        """The layers behind the last block: those of the scores of a whole text."""
        from pipeline.tasks.heads import text_head

        return text_head(build, self.outputs)

    def head_parameters(self, model: ModelConfig) -> int:
        """Numbers of the head: its last linear layer, and a dense one but for decoders."""
        size, decoder = model.hidden_size, model.architecture == "decoder"
        return self.outputs * (size + (not decoder)) + (0 if decoder else size * (size + 1))

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many scores the head gives."""

    def tokens(self, batch: Batch) -> int:
        """All but padding."""
        if "last" in batch:
            return int((batch["last"] + 1).sum()) + int(batch.get("encoder_segments", np.zeros(1)).sum())
        return int(batch["segments"].sum())

    def raw(self, scores: "Tensor", features: Sequence[Feature]) -> "list[NDArray[np.float32]]":
        """The scores of each feature, from those of a batch."""
        del features
        return list(scores.float().cpu().numpy())

    @abstractmethod
    def predictions(
        self, rows: Sequence[Row], features: Sequence[Feature], raw: Sequence[NDArray[np.float32]]
    ) -> list[Prediction]:
        """What is predicted of each row."""

    @abstractmethod
    def measures(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[Measure]:
        """How good predictions are, the first measure being the main one."""

    def baselines(self, train: Sequence[Row], rows: Sequence[Row]) -> dict[str, list[Prediction]]:
        """Predictions of methods that know nothing of language, by their names."""
        del train, rows
        return {}

    def details(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> dict[str, Any]:
        """What else there is to see: `confusion`, `calibration` and the like."""
        del rows, predictions
        return {}

    @abstractmethod
    def compare(self, row: Row, prediction: Prediction) -> tuple[float, str, str]:
        """How wrong a prediction is (0 for right), what was wanted and what was said."""

    @abstractmethod
    def show(self, row: Row) -> str:
        """A row's text, for people."""


def empty(feature: Feature) -> Feature:
    """A feature that fills up a batch and counts nothing."""
    return replace(feature, row=-1, weight=0.0)


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities over the last axis."""
    shifted = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    found: NDArray[np.float64] = shifted / shifted.sum(-1, keepdims=True)
    return found
