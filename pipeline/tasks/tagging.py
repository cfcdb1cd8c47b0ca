"""A tag for every word: entities in BIO (or any tags), scored by whole entities.

A word's tag stands on its first piece; the other pieces, and words that there is no room for, have no loss.
Words without room are said to be O. Entities are those of seqeval, whose F1 is the measure; right are those
of the right type, first and last word.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.reading import printable
from data_prep.contract.settings import InputError
from pipeline.objectives.batches import Batch
from pipeline.tasks.classification import count_labels
from pipeline.tasks.measures import Array, Measure, entity_f1, mean
from pipeline.tasks.rows import Row
from pipeline.tasks.settings import TaskSettings
from pipeline.tasks.task import Feature, Learned, Prediction, Task, softmax

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.build import Builder
    from pipeline.models.layer import Flow, Layer

OUTSIDE = "O"
Entity = tuple[str, int, int]
"""Type, first and last word."""


class TaggingSettings(TaskSettings):
    kind: Literal["tagging"] = "tagging"
    words: str = "words"
    """Column of the words, a list; CoNLL files have one."""
    tags: str = "tags"
    """Column of their tags, as many."""


class Tagging(Task):
    """Cross-entropy of the tags of words' first pieces."""

    name: ClassVar[str] = "tagging"
    settings_class: ClassVar[type[TaskSettings]] = TaggingSettings
    architectures: ClassVar[tuple[str, ...]] = ("encoder",)
    main = "entity_f1"
    form = "tokens"
    settings: TaggingSettings

    def __init__(self, settings: TaggingSettings, learned: Learned, *others: Any) -> None:
        super().__init__(settings, learned, *others)
        self.settings, self.tags = settings, list(learned["labels"])
        self.number = {tag: index for index, tag in enumerate(self.tags)}
        self.main = "entity_f1" if learned["entities"] else "accuracy"

    @classmethod
    def learn(cls, settings: TaskSettings, rows: Sequence[Row], where: str) -> Learned:
        """The tags, how often each is there, and whether they are of entities."""
        assert isinstance(settings, TaggingSettings)
        found = count_labels([tag for row in rows for tag in tags_of(settings, row)], where)
        entities = all(tag == OUTSIDE or tag[:2] in ("B-", "I-", "E-", "S-") for tag in found["labels"])
        return found | {"entities": entities}

    @classmethod
    def group(cls, settings: TaskSettings, row: Row) -> tuple[str, str]:
        """Equal sentences."""
        assert isinstance(settings, TaggingSettings)
        return "\n".join(row.texts(settings.words)), ""

    def features(self, row: Row, index: int, wanted: bool = True) -> list[Feature]:
        """The pieces of the words as of one text; `about` is where each word's first piece stands."""
        words = row.texts(self.settings.words)
        text = " ".join(words)
        starts = np.cumsum([0, *(len(word) + 1 for word in words)])
        placed = self.vocabulary.encode_placed(text)
        firsts = first_pieces([(one.start, one.end) for one in placed], starts[:-1], [len(w) for w in words])
        framed, cut = self.frame.make([one.id for one in placed])
        front, room = len(self.frame.before), self.frame.room(pair=False)
        places = [front + one if 0 <= one < room else -1 for one in firsts]
        targets = [self._tag(row, tag) for tag in tags_of(self.settings, row)] if wanted else []
        return [Feature(index, (framed,), targets, 1.0, cut, places)]

    def _tag(self, row: Row, tag: str) -> int:
        if tag not in self.number:
            raise InputError(
                f"{row.where}: the tag {printable(tag)[:80]!r} is in no training row; they have "
                f"{printable(', '.join(self.tags[:10]))}"
            )
        return self.number[tag]

    @property
    def outputs(self) -> int:
        """A score a tag."""
        return len(self.tags)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Of training batches, over words."""
        return ("word_accuracy",)

    def head(self, build: "Builder") -> "list[Layer]":
        """Scores of every token."""
        from pipeline.tasks.heads import token_head

        return token_head(build, self.outputs)

    def head_parameters(self, model: Any) -> int:
        """One linear layer."""
        return self.outputs * (int(model.hidden_size) + 1)

    def targets(self, features: Sequence[Feature], width: int) -> Batch:
        """Tags [B, S] on first pieces."""
        targets = np.zeros((len(features), width), np.int64)
        for line, one in enumerate(features):
            for place, target in zip(one.about, one.target, strict=False):
                if place >= 0:
                    targets[line, place] = target
        return {"targets": targets}

    def batch(self, features: Sequence[Feature], among: Sequence[Feature]) -> Batch:
        """As every task's, with weights [B, S] that are 0 but for first pieces."""
        found = super().batch(features, among)
        weights = np.zeros(found["tokens"].shape, np.float32)
        for line, one in enumerate(features):
            weights[line, [place for place in one.about if place >= 0]] = one.weight
        return found | {"weights": weights}

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """Weighted cross-entropy over words, and how many are right."""
        from pipeline.objectives.losses import weighted_classes

        flat = outputs["scores"].transpose(0, 1).flatten(0, 1)
        smoothing = self.config.objective.label_smoothing
        loss, right = weighted_classes(
            flat, labels["targets"].flatten(), labels["weights"].flatten(), smoothing
        )
        return loss, {"word_accuracy": right}

    def raw(self, scores: "Tensor", features: Sequence[Feature]) -> "list[NDArray[np.float32]]":
        """Scores [W, tags] of each feature's words; those without room are minus infinity but for O."""
        whole = scores.transpose(0, 1).float().cpu().numpy()
        return [self._of_words(one, whole[line]) for line, one in enumerate(features)]

    def _of_words(self, feature: Feature, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        places = np.array(feature.about)
        found = scores[np.maximum(places, 0)].copy()
        found[places < 0] = -1e4
        found[places < 0, self.number.get(OUTSIDE, 0)] = 0.0
        return found

    def predictions(
        self, rows: Sequence[Row], features: Sequence[Feature], raw: Sequence[NDArray[np.float32]]
    ) -> list[Prediction]:
        """A tag a word with its probability, and the entities that they make."""
        del features
        return [self._prediction(row, softmax(scores)) for row, scores in zip(rows, raw, strict=True)]

    def _prediction(self, row: Row, shares: NDArray[np.float64]) -> Prediction:
        tags = [self.tags[one] for one in shares.argmax(1)]
        words = row.texts(self.settings.words)
        spans = [
            {"type": kind, "text": " ".join(words[first : last + 1]), "first": first, "last": last}
            for kind, first, last in entities(tags)
        ]
        scores = [round(float(one), 6) for one in shares.max(1)]
        return {"tags": tags, "scores": scores} | ({"entities": spans} if self.learned["entities"] else {})

    def measures(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[Measure]:
        """F1, precision and recall of entities; the share of words with the right tag."""
        pairs = [
            (tags_of(self.settings, row), one["tags"]) for row, one in zip(rows, predictions, strict=True)
        ]
        right = [sum(a == b for a, b in zip(*pair, strict=True)) for pair in pairs]
        words = mean("accuracy", right)
        words.sums[:, 1] = [len(wanted) for wanted, _ in pairs]
        if not self.learned["entities"]:
            return [words]
        counts = entity_counts(pairs)
        return [
            Measure("entity_f1", counts, entity_f1),
            Measure("precision", counts[:, [0, 1]], words.combine),
            Measure("recall", counts[:, [0, 2]], words.combine),
            words,
        ]

    def baselines(self, train: Sequence[Row], rows: Sequence[Row]) -> dict[str, list[Prediction]]:
        """The tag that each word had most often, O where it is new."""
        seen: dict[str, Counter[str]] = {}
        for row in train:
            for word, tag in zip(row.texts(self.settings.words), tags_of(self.settings, row), strict=True):
                seen.setdefault(word, Counter())[tag] += 1
        common = max(self.learned["labels"], key=self.learned["labels"].get)
        best = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
        return {
            "commonest tag of a word": [
                {"tags": [best.get(word, common) for word in row.texts(self.settings.words)]} for row in rows
            ]
        }

    def details(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> dict[str, Any]:
        """Figures of each type of entity."""
        if not self.learned["entities"]:
            return {}
        pairs = [
            (tags_of(self.settings, row), one["tags"]) for row, one in zip(rows, predictions, strict=True)
        ]
        kinds = sorted({tag[2:] for tag in self.tags if tag != OUTSIDE})
        table = []
        for kind in kinds:
            sums = entity_counts(pairs, kind).sum(0)
            right, found, wanted = sums
            table.append(
                [
                    kind,
                    f"{float(entity_f1(sums)):.4f}",
                    f"{right / max(found, 1):.4f}",
                    f"{right / max(wanted, 1):.4f}",
                    str(int(wanted)),
                ]
            )
        return {"table": {"head": ["type", "F1", "precision", "recall", "wanted"], "rows": table}}

    def compare(self, row: Row, prediction: Prediction) -> tuple[float, str, str]:
        """How many entities, or words, are wrong."""
        wanted = tags_of(self.settings, row)
        words = row.texts(self.settings.words)
        if not self.learned["entities"]:
            wrong = sum(a != b for a, b in zip(wanted, prediction["tags"], strict=True))
            return float(wrong), " ".join(wanted), " ".join(prediction["tags"])
        ours, theirs = set(entities(prediction["tags"])), set(entities(wanted))
        return float(len(ours ^ theirs)), _shown(words, wanted), _shown(words, prediction["tags"])

    def show(self, row: Row) -> str:
        """The words."""
        return " ".join(row.texts(self.settings.words))


def tags_of(settings: TaggingSettings, row: Row) -> list[str]:
    """A row's tags. `InputError` where there are not as many as words, or one is empty."""
    words, tags = row.texts(settings.words), row.texts(settings.tags)
    if len(words) != len(tags):
        raise InputError(f"{row.where}: {len(words)} words and {len(tags)} tags; one each is expected")
    for word, tag in zip(words, tags, strict=True):
        if not tag.strip() or not word.strip():
            raise InputError(f"{row.where}: an empty {'word' if tag.strip() else 'tag'}; each has letters")
    return tags


def first_pieces(
    places: Sequence[tuple[int, int]], starts: NDArray[np.int64], lengths: Sequence[int]
) -> list[int]:
    """The first piece of each word that begins at a character and is so long; -1 where no piece has any.

    >>> first_pieces([(0, 2), (2, 4), (4, 8)], np.array([0, 5]), [4, 3])
    [0, 2]
    """
    found, piece = [], 0
    for start, length in zip(starts, lengths, strict=True):
        while piece < len(places) and places[piece][1] <= start:
            piece += 1
        there = piece < len(places) and places[piece][0] < start + length
        found.append(piece if there else -1)
    return found


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities that tags make, as seqeval has it: an I of another type than before begins one, too."""
    from seqeval.metrics.sequence_labeling import get_entities

    return [(str(kind), int(first), int(last)) for kind, first, last in get_entities(list(tags))]


def entity_counts(pairs: Sequence[tuple[Sequence[str], Sequence[str]]], kind: str = "") -> Array:
    """[N, 3] entities of each row that are right, found and wanted; of one kind, or of all."""
    rows = []
    for wanted, found in pairs:
        ours = {one for one in entities(found) if kind in ("", one[0])}
        theirs = {one for one in entities(wanted) if kind in ("", one[0])}
        rows.append((len(ours & theirs), len(ours), len(theirs)))
    return np.array(rows, np.float64)


def _shown(words: Sequence[str], tags: Sequence[str]) -> str:
    spans = [f"{kind}: {' '.join(words[first : last + 1])}" for kind, first, last in entities(tags)]
    return "\n".join(spans) or "(nothing)"
