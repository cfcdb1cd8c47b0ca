"""Text to text: what a decoder says after what its encoder has read, for any task that can be put so.

Several tasks may be mixed in the same minibatches, each with its prefix (Raffel et al. 2020, section 3.5.2):

    data: {from: {translate: pairs.jsonl, mood: sst2.tsv}}
    task:
      kind: text_to_text
      mixture:
        translate: {source: de, target: en, prefix: "translate German to English: ", metric: bleu}
        mood: {source: text, target: label, prefix: "sst2 sentence: ", metric: exact}
      temperature: 2.0

A minibatch's loss is that of all its target tokens together, so a task with long answers weighs more; the
loss of each is logged. There are no new weights.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt

from data_prep.contract.reading import printable
from data_prep.contract.settings import InputError, Settings
from pipeline.objectives.batches import Batch, count_tokens
from pipeline.tasks.framing import filled_up
from pipeline.tasks.measures import Array, Measure
from pipeline.tasks.rows import Row
from pipeline.tasks.settings import ReadConfig, TaskSettings
from pipeline.tasks.task import Feature, Learned, Prediction, Task
from pipeline.tasks.text_measures import MEASURES

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.layer import Flow

SET = "\0set"
"""Key of a row's set of data, which no file can have for a column that is asked for."""
ONE = ""
"""Name of the only set."""


class PartSettings(Settings):
    """One of the tasks that are mixed."""

    source: str = "source"
    """Column of what the encoder reads."""
    target: str = "target"
    """Column of what the decoder says: a text, a label or a number."""
    prefix: str = ""
    """What stands before every source, such as `translate English to German: `."""
    metric: Literal["exact", "bleu", "rouge"] = "exact"
    """How answers are measured: equal to the target, BLEU of sacrebleu, or ROUGE with stemming."""
    weight: PositiveFloat = 1.0
    """Factor on the number of its rows in a mixture."""
    read: ReadConfig = ReadConfig()


class TextSettings(TaskSettings):
    kind: Literal["text_to_text"] = "text_to_text"
    source: str = "source"
    """Column of what the encoder reads, where there is one task."""
    target: str = "target"
    """Column of what the decoder says."""
    prefix: str = ""
    """What stands before every source."""
    metric: Literal["exact", "bleu", "rouge"] = "exact"
    """How answers are measured."""
    mixture: dict[str, PartSettings] = Field(default_factory=dict)
    """Several tasks by the names that `data` has for their files; empty is one task."""
    temperature: float = Field(1.0, gt=0.0, le=1e6)
    """1 mixes by numbers of rows, more makes shares more alike."""
    cap: PositiveInt | None = None
    """Most rows that a task counts for in the shares; null has no limit."""
    beams: int = Field(1, ge=1, le=64)
    """Texts that a search for the likeliest answer keeps; 1 takes the likeliest token each time."""
    length_penalty: float = 1.0
    """Power of the length that scores of beams are divided by."""
    answer_tokens: int = Field(64, ge=1)
    """Most tokens of an answer."""

    @property
    def parts(self) -> dict[str, PartSettings]:
        """The tasks by name."""
        if self.mixture:
            return dict(self.mixture)
        keys = ("source", "target", "prefix", "metric", "read")
        return {ONE: PartSettings(**{key: getattr(self, key) for key in keys})}

    def part(self, name: str) -> PartSettings:
        """A task by its name. `InputError` where the mixture has none such."""
        if name not in self.parts:
            raise InputError(
                f"task.mixture has nothing called {printable(name)[:80]!r}; there is "
                f"{', '.join(self.parts)}, and files go by these names, as in data: {{from: {{NAME: FILE}}}}"
            )
        return self.parts[name]

    def read_of(self, name: str) -> ReadConfig:
        """How to read a task's file."""
        return self.part(name if self.mixture else ONE).read

    def named(self, row: Row, name: str) -> Row:
        """The row with the name of its task."""
        return Row(row.where, {**row.values, SET: name if self.mixture else ONE})


class TextToText(Task):
    """The objective's own cross-entropy of the target's tokens."""

    name: ClassVar[str] = "text_to_text"
    settings_class: ClassVar[type[TaskSettings]] = TextSettings
    architectures: ClassVar[tuple[str, ...]] = ("encoder_decoder",)
    generates: ClassVar[bool] = True
    settings: TextSettings

    def __init__(self, settings: TextSettings, learned: Learned, *others: Any) -> None:
        super().__init__(settings, learned, *others)
        self.settings, self.parts = settings, settings.parts
        self.main = self._named(next(iter(self.parts)), MEASURES[next(iter(self.parts.values())).metric].main)
        self.begins = list(self.objective.begins(self.vocabulary))

    @classmethod
    def learn(cls, settings: TaskSettings, rows: Sequence[Row], where: str) -> Learned:
        """The commonest target of each task. `InputError` where a task has no rows."""
        assert isinstance(settings, TextSettings)
        found: dict[str, Counter[str]] = {name: Counter() for name in settings.parts}
        for row in rows:
            found[row.values[SET]][target_of(settings, row)] += 1
        for name, counts in found.items():
            if not counts:
                raise InputError(f"{where}: no rows of task.mixture.{name}; name a file of it in `data`")
        return {"commonest": {name: counts.most_common(1)[0][0] for name, counts in found.items()}}

    @classmethod
    def group(cls, settings: TaskSettings, row: Row) -> tuple[str, str]:
        """Equal sources of a task."""
        assert isinstance(settings, TextSettings)
        return source_of(settings, row), row.values[SET]

    def features(self, row: Row, index: int, wanted: bool = True) -> list[Feature]:
        """What the encoder reads; the target is the ids that the decoder says."""
        part = self.settings.part(row.values[SET])
        framed, cut = self.frame.make(self.vocabulary.encode(part.prefix + source_of(self.settings, row)))
        target: list[int] = []
        if wanted:
            room = self.frame.length - len(self.begins) - 1
            ids = self.vocabulary.encode(target_of(self.settings, row))
            target, cut = [*self.begins, *ids[:room], self.vocabulary.eos], cut or len(ids) > room
        return [Feature(index, (framed,), target, 1.0, cut, set=row.values[SET])]

    def mixture(self, features: Sequence[Feature]) -> tuple[list[int], NDArray[np.float64]]:
        """Shares by min(rows x weight, cap) to the power 1 / temperature."""
        counts = Counter(one.set for one in features)
        names = list(dict.fromkeys(one.set for one in features))
        sizes = np.array([counts[name] * self.parts[name].weight for name in names])
        return [counts[name] for name in names], shares(sizes, self.settings.cap, self.settings.temperature)

    def batch(self, features: Sequence[Feature], among: Sequence[Feature]) -> Batch:
        """The encoder's arrays [B, S], and the decoder's tokens, targets and weights [B, T]."""
        found = super().batch(features, among)
        width = filled_up(max(len(one.target) for one in among), self.frame.length)
        targets = np.full((len(features), width), self.vocabulary.pad, np.int64)
        weights = np.zeros(targets.shape, np.float32)
        for row, one in enumerate(features):
            targets[row, : len(one.target)], weights[row, : len(one.target)] = one.target, one.weight
        tokens = np.full_like(targets, self.vocabulary.pad)
        tokens[:, 0], tokens[:, 1:] = self.frame.start, targets[:, :-1]
        tokens[:, 1:][weights[:, 1:] == 0] = self.vocabulary.pad
        del found["last"]
        found |= {"tokens": tokens, "targets": targets, "weights": weights}
        if len(self.parts) > 1:
            sets = np.array([one.set for one in features])
            found |= {set_weights(name): weights * (sets == name)[:, None] for name in self.parts}
        return found

    def targets(self, features: Sequence[Feature], width: int) -> Batch:
        """Made with the decoder's tokens."""
        return {}

    @property
    def outputs(self) -> int:
        """No new ones."""
        return 0

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of a decoder, and of several tasks the weights of each."""
        own = [set_weights(name) for name in self.parts] if len(self.parts) > 1 else []
        return ("targets", "weights", *own)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Of several tasks each one's loss, and its share of the target tokens."""
        if len(self.parts) == 1:
            return ()
        return tuple(f"{name}_{what}" for name in self.parts for what in ("loss", "token_share"))

    def tokens(self, batch: Batch) -> int:
        """As an encoder's and a decoder's are counted."""
        return count_tokens(batch)

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """The sum over target tokens."""
        from pipeline.objectives.losses import token_log_probabilities

        metrics = {}
        if self.metrics:
            lost_BS = -token_log_probabilities(outputs["logits"].detach(), labels["targets"])
            for name in self.parts:
                own_BS = labels[set_weights(name)]
                metrics[f"{name}_loss"] = (lost_BS * own_BS).sum()
                metrics[f"{name}_token_share"] = (labels["weights"] * (own_BS > 0)).sum()
        total, _ = self.objective(outputs, labels)
        return total, metrics

    def predictions(
        self, rows: Sequence[Row], features: Sequence[Feature], raw: Sequence[NDArray[np.float32]]
    ) -> list[Prediction]:
        """Texts."""
        del features
        texts = [self.vocabulary.decode([int(one) for one in ids]).strip() for ids in raw]
        return [
            ({"task": row.values[SET]} if self.settings.mixture else {}) | {"text": text}
            for row, text in zip(rows, texts, strict=True)
        ]

    def measures(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[Measure]:
        """Those of every task; rows of others add nothing to them."""
        found = []
        for name, part in self.parts.items():
            own = [index for index, row in enumerate(rows) if row.values[SET] == name]
            pairs = [(target_of(self.settings, rows[i]), predictions[i]["text"]) for i in own]
            for one in MEASURES[part.metric].of(pairs):
                sums: Array = np.zeros((len(rows), one.sums.shape[1]))
                sums[own] = one.sums
                found.append(Measure(self._named(name, one.name), sums, one.combine))
        return found

    def _named(self, name: str, measure: str) -> str:
        return f"{name}_{measure}" if self.settings.mixture else measure

    def baselines(self, train: Sequence[Row], rows: Sequence[Row]) -> dict[str, list[Prediction]]:
        """The commonest target, the source as it is, and of sources their first three sentences."""
        del train
        sources = [source_of(self.settings, row) for row in rows]
        return {
            "commonest target": [{"text": self.learned["commonest"][row.values[SET]]} for row in rows],
            "the source": [{"text": one} for one in sources],
            "first sentences": [
                {"text": " ".join(one.replace("! ", ". ").split(". ")[:3])} for one in sources
            ],
        }

    def details(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> dict[str, Any]:
        """What the measures were made with."""
        del rows, predictions
        said = {MEASURES[part.metric].signature() for part in self.parts.values()}
        return {"said": " ".join(sorted(filter(None, said)))} if any(said) else {}

    def compare(self, row: Row, prediction: Prediction) -> tuple[float, str, str]:
        """Wrong by the share of letters that differ."""
        from difflib import SequenceMatcher

        wanted = target_of(self.settings, row)
        alike = SequenceMatcher(None, wanted, prediction["text"], autojunk=False).quick_ratio()
        return 1 - alike, wanted, prediction["text"] or "(nothing)"

    def show(self, row: Row) -> str:
        """The prefix and the source."""
        return self.settings.part(row.values[SET]).prefix + source_of(self.settings, row)


def set_weights(name: str) -> str:
    """The array of the weights of one task's tokens."""
    return f"{name}_weights"


def shares(sizes: NDArray[np.float64], cap: int | None, temperature: float) -> NDArray[np.float64]:
    """The share of each task.

    >>> shares(np.array([100.0, 400.0]), None, 2.0).round(3).tolist()
    [0.333, 0.667]
    """
    rates = np.minimum(sizes, cap or np.inf) ** (1 / temperature)
    found: NDArray[np.float64] = rates / rates.sum()
    return found


def source_of(settings: TextSettings, row: Row) -> str:
    """What a row's encoder reads, without prefix."""
    return row.text(settings.part(row.values[SET]).source)


def target_of(settings: TextSettings, row: Row) -> str:
    """What a row's decoder is to say."""
    column = settings.part(row.values[SET]).target
    found = row.cell(column)
    return (
        f"{found:g}"
        if isinstance(found, float)
        else str(found)
        if isinstance(found, int)
        else row.text(column)
    )
