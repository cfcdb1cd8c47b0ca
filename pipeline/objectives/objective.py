"""What an objective is: its batches, the layers behind the last block, its labels, its loss and its metrics.

One class a kind, each in its own file; `pipeline.objectives.registry` finds it by the recipe's
`objective.kind`. To import them needs no torch: what makes batches in a worker process does without.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.pictures import ImageDataset
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import SENTINELS, Vocabulary
from pipeline.config import DataConfig, ObjectiveConfig, PipelineConfig
from pipeline.costs.lengths import Lengths
from pipeline.objectives.batches import Batch
from pipeline.objectives.loss import Loss
from pipeline.objectives.pictures import ImageSamples
from pipeline.objectives.samples import Samples
from pipeline.objectives.special import ABSENT, SpecialTokens

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.build import Builder
    from pipeline.models.layer import Flow, Layer

MakeBatch = Callable[[Samples], Batch]
MakePictureBatch = Callable[[ImageSamples], Batch]


@dataclass(frozen=True)
class Shape:
    """Lengths that an objective leads to, the same for every batch.

    width     stream positions that a sample is made of
    inputs    tokens that the model's first stack sees: the encoder's, or a lone decoder's or encoder's
    targets   tokens of the decoder behind an encoder; None where there is none
    """

    width: int
    inputs: int
    targets: int | None = None

    @property
    def lengths(self) -> Lengths:
        """What the model computes on."""
        return Lengths(self.inputs, self.targets or 0)


class Objective(Loss):
    """A training objective with its settings."""

    form: ClassVar[Literal["tokens", "pictures"]] = "tokens"
    """What its samples are: `make_batch` is for tokens, `picture_batches` for pictures."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Special tokens that not every published tokenizer has."""

    prefix: ClassVar[bool] = False
    """Whether what a text goes on from is seen whole, both ways."""

    fills: ClassVar[bool] = True
    """Whether a model is asked what stands in blanks, and not how a text goes on."""

    blank: ClassVar[str] = SENTINELS[0]
    """The piece that stands in a text for what is missing there."""

    rewrites: ClassVar[bool] = False
    """Whether it answers a text that has blanks with the whole text, and not with what fills them."""

    def __init__(self, settings: ObjectiveConfig) -> None:
        self.settings = settings

    @property
    def pairs(self) -> bool:
        """Whether a sample is given another one of its window as a partner."""
        return False

    @property
    def partners(self) -> int:
        """Further pictures that a sample of pictures has."""
        return 0

    @abstractmethod
    def shape(self, data: DataConfig) -> Shape:
        """The lengths of the batches."""

    @abstractmethod
    def make_batch(self, data: DataConfig, special: SpecialTokens) -> MakeBatch:
        """The function from samples to batches: a pure one, whose noise follows from the samples' keys."""

    def picture_batches(self, config: PipelineConfig, dataset: ImageDataset) -> MakePictureBatch:
        """The same for an objective whose `form` is pictures."""
        raise AssertionError(f"{self.settings.kind} has no batches of pictures")

    def batches(self, data: DataConfig, special: SpecialTokens) -> MakeBatch:
        """The same for a vocabulary that may not do. `InputError` where it lacks a special token."""
        for name in self.needs:
            if getattr(special, name) == ABSENT:
                kind = self.settings.kind
                raise InputError(
                    f"objective.kind {kind} needs a <{name}>, and the dataset's tokenizer has none"
                )
        return self.make_batch(data, special)

    def describe(self) -> str:
        """What the model learns to predict, in a few words."""
        return self.settings.kind

    def decoder_start(self, vocabulary: Vocabulary) -> int:
        """What a decoder behind an encoder starts with: `<pad>`, as in T5."""
        return vocabulary.pad

    def framed(self, vocabulary: Vocabulary, ids: Sequence[int]) -> list[int]:
        """What an encoder reads: the ids of a text in what stands around them."""
        return [*ids, vocabulary.eos]

    def asked(
        self, vocabulary: Vocabulary, before: Sequence[int], answer: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """What a model reads and what it then says where an answer follows a text: here the two as given."""
        del vocabulary
        return [*before], [*answer]

    def begins(self, vocabulary: Vocabulary) -> tuple[int, ...]:
        """What a published decoder's texts begin with, behind its start: the id that is forced, if any."""
        return () if vocabulary.forced is None else (vocabulary.forced,)

    def head(self, build: "Builder") -> "list[Layer]":
        """The layers behind the last block: the logits of every position."""
        return [*build.project_out(), build.logits()]

    def every_token(self, batch: Batch) -> NDArray[np.float32]:
        """[B, S] 1 at every token that is no padding, 0 in rows that only fill up: where anything counts."""
        return (batch["weights"] > 0).astype(np.float32)

    def layers(self, build: "Builder") -> "list[Layer]":
        """Every layer: the model's with this head behind it."""
        return build.layers(self.head)

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """Sum of weight times cross-entropy over the positions, in nats; no metrics beside it."""
        from pipeline.objectives.losses import weighted_cross_entropy

        smoothing = self.settings.label_smoothing
        total = weighted_cross_entropy(outputs["logits"], labels["targets"], labels["weights"], smoothing)
        return total, {}
