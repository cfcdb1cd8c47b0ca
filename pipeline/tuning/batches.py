"""Instruction tuning as a `BatchSource`: conversations in, padded batches with loss on the answers out.

The samples of a step are a pure function of the seed and the step (`pipeline.tuning.order`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig, TuneConfig
from pipeline.data.packing import best_fit
from pipeline.objectives.batches import Batch
from pipeline.prompting.chat import ChatTemplate, Encoded
from pipeline.tuning.instructions import Conversation, read_conversations
from pipeline.tuning.order import EndlessOrder, shuffled
from pipeline.tuning.sample_forms import Row, sample_form

BEGINNING = 160
"""Characters of a conversation that tell which one it is."""
HELD_OUT = 0.05
"""Share of the train files that validates where there are no validation files."""


class InstructionBatches:
    """The batches of one data-parallel rank.

    `counts` tells what became of the conversations, or for an encoder-decoder of their answers: `train` and
    `validation` are used, `skipped_long` had no room for an answer, `cut_long` lost the end of one;
    `skipped_empty` conversations had nothing to learn. Raises
    `InputError` for rows of a wrong shape, for nothing left to train on and for a batch that does not divide.
    """

    def __init__(
        self,
        config: PipelineConfig,
        vocabulary: Vocabulary,
        train_files: list[Path],
        validation_files: list[Path],
        data_rank: int,
        data_size: int,
    ) -> None:
        self.form = sample_form(config, vocabulary)
        self._decode = vocabulary.decode
        self.seed, self.tune = config.seed, config.train
        config.train.accumulation(data_size)  # refuses what does not divide
        self.counts: Counter[str] = Counter()
        template = ChatTemplate(vocabulary)
        samples = self._read(template, train_files)
        held_out = self._read(template, validation_files)
        if not validation_files:
            samples, held_out = self._hold_out(samples)
        if not samples or not held_out:
            names = ", ".join(str(path) for path in [*train_files, *validation_files])
            raise InputError(
                f"{names}: {len(samples)} conversations left to train on and {len(held_out)} to validate on "
                f"({dict(self.counts)}); each needs at least one with an answer that fits in "
                f"data.sequence_length {config.data.sequence_length}"
            )
        chosen = self._choose(list(chain(*held_out)), config.train.validation_samples)
        self._train, self._validation = _Samples(list(chain(*samples))), _Samples(chosen)
        self._longest = max(self._train.longest, self._validation.longest)
        self.counts["train"], self.counts["validation"] = self._train.count, self._validation.count
        packed = isinstance(self.tune, TuneConfig) and self.tune.pack
        longest = config.data.sequence_length if packed else None
        self._rows, self._held_out = self._train.rows(longest), self._validation.rows(longest)
        if packed:
            self.counts["rows"] = len(self._rows)
        self._order = EndlessOrder(self.seed, len(self._rows), self.tune, data_rank, data_size)

    def step(self, step: int) -> list[Batch]:
        """The micro batches of this rank at optimizer step `step`, counted from 0."""
        steps = self._order.step(step)
        return [self._batch(self._train, [self._rows[index] for index in indices]) for indices in steps]

    def validation(self) -> Iterator[Batch]:
        """This rank's share of the held-out conversations, filled up with samples of weight 0."""
        rows = self._held_out
        for indices in self._order.fixed(len(rows)):
            yield self._batch(self._validation, [rows[i] if i < len(rows) else [] for i in indices])

    def documents(self, step: int) -> list[dict[str, Any]]:
        """The samples in the global batch of a step, by their number among those trained on."""
        numbers = [number for row in self._order.all_of(step) for number in self._rows[row]]
        texts = [self._decode(self._train.get(number)[0].tolist()) for number in numbers]
        return [
            {"document": f"sample {number}", "text": text[:BEGINNING]}
            for number, text in zip(numbers, texts, strict=True)
        ]

    def report(self, steps: int) -> list[dict[str, Any]]:
        """What became of the conversations, and how often each was trained on."""
        return [dict(self.counts) | {"epochs": self.tune.samples_before(steps) / len(self._rows)}]

    def close(self) -> None:
        """Nothing runs in the background."""

    def _read(self, template: ChatTemplate, files: list[Path]) -> list[list[Encoded]]:
        """The samples of each conversation that has any."""
        conversations = [one for path in files for one in read_conversations(path)]
        answered = [one for one in conversations if _has_answer(one)]
        self.counts["conversations"] += len(conversations)
        self.counts["skipped_empty"] += len(conversations) - len(answered)
        fitted = [
            [kept for sample in self.form.samples(one) if (kept := self._fit(sample)) is not None]
            for one in template.encode(answered)
        ]
        return [samples for samples in fitted if samples]

    def _fit(self, sample: Encoded) -> Encoded | None:
        """What there is room for of a sample; None where no answer is left of it."""
        cut = self.form.fit(sample)
        if len(cut.tokens) < len(sample.tokens):
            self.counts["cut_long" if any(cut.learned) else "skipped_long"] += 1
        return cut if any(cut.learned) else None

    def _hold_out(self, samples: list[list[Encoded]]) -> tuple[list[list[Encoded]], list[list[Encoded]]]:
        """A seeded share of the conversations validates; at least one where there are two."""
        wanted = min(max(1, round(HELD_OUT * len(samples))), self.tune.validation_samples, len(samples) - 1)
        order = shuffled(self.seed, len(samples), "held out")
        held_out = {int(index) for index in order[: max(0, wanted)]}
        return (
            [one for index, one in enumerate(samples) if index not in held_out],
            [samples[index] for index in sorted(held_out)],
        )

    def _choose(self, samples: list[Encoded], wanted: int) -> list[Encoded]:
        order = shuffled(self.seed, len(samples), "validation")
        return [samples[index] for index in sorted(order[:wanted])]

    def _batch(self, samples: "_Samples", rows: Sequence[Sequence[int]]) -> Batch:
        return self.form.batch([[samples.get(number) for number in row] for row in rows], self._longest)


class _Samples:
    """Conversations laid end to end in flat arrays: a million of them take memory by the token alone."""

    def __init__(self, samples: list[Encoded]) -> None:
        self.count = len(samples)
        self._ends = np.cumsum([len(one.tokens) for one in samples])
        self._tokens = np.concatenate([np.array(one.tokens, dtype=np.uint32) for one in samples])
        self._learned = np.concatenate([np.array(one.learned, dtype=bool) for one in samples])

    @property
    def longest(self) -> int:
        """Learned tokens of the sample that has most."""
        begins = np.concatenate([[0], self._ends[:-1]])
        return int(np.add.reduceat(self._learned, begins, dtype=np.int64).max())

    def rows(self, length: int | None) -> list[list[int]]:
        """The numbers of the samples of each row: one, or as many as fit in `length` positions (best fit)."""
        if length is None:
            return [[number] for number in range(self.count)]
        sizes = np.diff(self._ends, prepend=0) - 1
        pieces = best_fit(list(enumerate(sizes.tolist())), self.count, length)
        rows: list[list[int]] = [[] for _ in range(self.count)]
        for number, row in zip(pieces.source.tolist(), pieces.row.tolist(), strict=True):
            rows[row].append(number)
        return [row for row in rows if row]

    def get(self, index: int) -> Row:
        place = slice(self._ends[index - 1] if index else 0, self._ends[index])
        return self._tokens[place], self._learned[place]


def _has_answer(conversation: Conversation) -> bool:
    return any(message.role == "assistant" and message.content.strip() for message in conversation)
