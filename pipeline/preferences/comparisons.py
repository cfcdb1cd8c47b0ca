"""Comparisons as a `BatchSource`: all answers to a prompt side by side in one batch.

A sample is a prompt with its answers, so that `global_batch` and `micro_batch` count prompts: K answers cost
K forward passes, and none of the C(K, 2) pairs is seen apart from the others, which a reward model would
overfit on (Ouyang et al. 2022, section 3.5). With P prompts of K answers a micro batch has rows [R = P * K]:

    tokens [R, S] int64           prompt, answer and the end of the turn, padded on the right
    targets [R, S] int64          the token after each
    answers [R, S] float32        1 where that token is one of the answer, or its end
    lengths [R] int64             ids of each row; 0 where a prompt has fewer than K answers
    pair_weights [P, K, K] float32    `Ranking.beats`: what each comparison weighs in the loss
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.objectives.batches import Batch
from pipeline.preferences.rankings import Ranking, read_rankings
from pipeline.prompting.chat import ChatTemplate, Encoded, Message
from pipeline.tuning.batches import BEGINNING
from pipeline.tuning.order import EndlessOrder, shuffled

HELD_OUT = 0.1
"""Share of the prompts that validates where there are no validation files."""
MULTIPLE = 16
"""Widths of batches are multiples of it, so that sequence parallelism can cut them."""
Ids = NDArray[np.uint32]


class Compared:
    """A prompt and its answers as ids, whose comparisons have a weight."""

    def __init__(self, rows: Sequence[Encoded], beats: NDArray[Any]) -> None:
        ends = [len(one.tokens) - one.learned[::-1].index(True) for one in rows]
        self.rows: list[Ids] = [
            np.array(one.tokens[:end], np.uint32) for one, end in zip(rows, ends, strict=True)
        ]
        self.starts = [begin_of_last(one.learned[:end]) for one, end in zip(rows, ends, strict=True)]
        """Where in each row its answer begins."""
        self.beats = beats


class Comparisons:
    """The batches of one data-parallel rank.

    `counts` tells what became of the rows of the files: `train` and `validation` are used; those that compare
    nothing, have an empty answer or are too long for `data.sequence_length` are not. `InputError` for rows of
    a wrong shape, and for nothing left to learn from.
    """

    def __init__(
        self,
        config: PipelineConfig,
        vocabulary: Vocabulary,
        train_files: Sequence[Path],
        validation_files: Sequence[Path],
        data_rank: int,
        data_size: int,
    ) -> None:
        self.seed, self.optim, self.pad = config.seed, config.train, vocabulary.pad
        self._decode, self._longest = vocabulary.decode, config.data.sequence_length
        config.train.accumulation(data_size)  # refuses what does not divide
        self.counts: Counter[str] = Counter()
        template = ChatTemplate(vocabulary)
        train = self._read(template, train_files)
        validation = self._read(template, validation_files)
        if not validation_files:
            train, validation = self._hold_out(train)
        if not train or not validation:
            names = ", ".join(str(path) for path in [*train_files, *validation_files])
            raise InputError(
                f"{names}: {len(train)} prompts left to train on and {len(validation)} to validate on "
                f"({dict(self.counts)}); each needs one with answers that fit in data.sequence_length "
                f"{self._longest}"
            )
        wanted = config.train.validation_samples
        chosen = sorted(shuffled(self.seed, len(validation), "validation")[:wanted])
        self._train, self._validation = train, [validation[index] for index in chosen]
        self.answers = max(len(one.rows) for one in [*train, *self._validation])
        """K, the most answers to one prompt."""
        self.counts["train"], self.counts["validation"] = len(train), len(self._validation)
        self._order = EndlessOrder(self.seed, len(train), config.train, data_rank, data_size)

    def step(self, step: int) -> list[Batch]:
        """The micro batches of this rank at optimizer step `step`, counted from 0: all of one width."""
        width = self._width([self._train[index] for index in self._order.all_of(step)])
        return [self._batch([self._train[i] for i in part], width) for part in self._order.step(step)]

    def validation(self) -> Iterator[Batch]:
        """This rank's share of the held-out prompts, filled up with prompts of weight 0."""
        count, width = len(self._validation), self._width(self._validation)
        for indices in self._order.fixed(count):
            yield self._batch([self._validation[i] if i < count else None for i in indices], width)

    def documents(self, step: int) -> list[dict[str, Any]]:
        """The prompts in the global batch of a step, by their number among those trained on."""
        numbers = self._order.all_of(step)
        starts = [(self._train[number].rows[0], self._train[number].starts[0]) for number in numbers]
        return [
            {"document": f"prompt {number}", "text": self._decode(row[:start].tolist())[:BEGINNING]}
            for number, (row, start) in zip(numbers, starts, strict=True)
        ]

    def report(self, steps: int) -> list[dict[str, Any]]:
        """What became of the rows, and how often each was trained on."""
        return [dict(self.counts) | {"epochs": self.optim.samples_before(steps) / len(self._train)}]

    def close(self) -> None:
        """Nothing runs in the background."""

    def _read(self, template: ChatTemplate, files: Sequence[Path]) -> list[Compared]:
        found = []
        for ranking in (one for path in files for one in read_rankings(path)):
            self.counts["rows"] += 1
            compared = encode(template, ranking)
            reason = self._reason(ranking, compared)
            if reason:
                self.counts[f"skipped_{reason}"] += 1
            else:
                found.append(compared)
        return found

    def _reason(self, ranking: Ranking, compared: Compared) -> str:
        """Why nothing can be learned of a row; empty where something can."""
        if not ranking.beats.any():
            return "equal"
        if not all(answer.strip() for answer in ranking.answers):
            return "empty"
        return "long" if max(map(len, compared.rows)) > self._longest else ""

    def _hold_out(self, found: list[Compared]) -> tuple[list[Compared], list[Compared]]:
        wanted = min(max(1, round(HELD_OUT * len(found))), self.optim.validation_samples, len(found) - 1)
        apart = {int(index) for index in shuffled(self.seed, len(found), "held out")[: max(0, wanted)]}
        return (
            [one for index, one in enumerate(found) if index not in apart],
            [found[index] for index in sorted(apart)],
        )

    def _width(self, prompts: Sequence[Compared]) -> int:
        longest = max(len(row) for one in prompts for row in one.rows)
        return min(-(-longest // MULTIPLE) * MULTIPLE, self._longest)

    def _batch(self, prompts: Sequence[Compared | None], width: int) -> Batch:
        count = self.answers
        tokens = np.full((len(prompts) * count, width), self.pad, np.int64)
        targets, answers = tokens.copy(), np.zeros(tokens.shape, np.float32)
        lengths = np.zeros(len(tokens), np.int64)
        weights = np.zeros((len(prompts), count, count), np.float32)
        for place, one in enumerate(prompts):
            if one is None:
                continue
            many = len(one.rows)
            weights[place, :many, :many] = one.beats
            for row, (ids, start) in enumerate(zip(one.rows, one.starts, strict=True), place * count):
                size = lengths[row] = len(ids)
                tokens[row, :size], targets[row, : size - 1] = ids, ids[1:]
                answers[row, start - 1 : size - 1] = 1.0
        return {
            "tokens": tokens,
            "targets": targets,
            "answers": answers,
            "lengths": lengths,
            "pair_weights": weights,
        }


def encode(template: ChatTemplate, ranking: Ranking) -> Compared:
    """A prompt with each answer and the end of its turn, as a policy would give them."""
    rows = template.encode([[*ranking.prompt, Message("assistant", one)] for one in ranking.answers])
    return Compared(rows, ranking.beats)


def begin_of_last(learned: Sequence[bool]) -> int:
    """Where the run of learned ids begins that a conversation ends with.

    >>> begin_of_last([False, True, False, True, True])
    3
    """
    return len(learned) - next((n for n, one in enumerate(reversed(learned)) if not one), len(learned))
