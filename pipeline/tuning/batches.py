"""Instruction tuning as a `BatchSource`: conversations in, padded batches with loss on the answers out.

The samples of a step are a pure function of the seed and the step. Position p of the endless sample order is
conversation `p mod n` of epoch `p div n`'s permutation, and micro batch m of rank r of W at step s holds the
positions `s*G + (m*W + r)*B` onward: a global batch G is the same for every number of ranks.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig
from pipeline.data.batches import Batch
from pipeline.tuning.chat import ChatTemplate, Encoded
from pipeline.tuning.instructions import Conversation, read_conversations

HELD_OUT = 0.05
"""Share of the train files that validates where there are no validation files."""


class InstructionBatches:
    """The batches of one data-parallel rank.

    `counts` tells what became of the conversations: `train` and `validation` are used, `skipped_long` had no
    room for an answer, `cut_long` lost the end of one, `skipped_empty` had nothing to learn. Raises
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
        self.length, self.pad = config.data.sequence_length, vocabulary.pad
        self.seed, self.tune = config.seed, config.tune
        self.rank, self.size = data_rank, data_size
        self.micro_batches = config.tune.accumulation(data_size)
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
                f"data.sequence_length {self.length}"
            )
        self._train = _Samples(samples)
        self._validation = _Samples(self._choose(held_out, config.tune.validation_samples))
        self.counts["train"], self.counts["validation"] = self._train.count, self._validation.count
        self._permutation = lru_cache(maxsize=2)(self._shuffle)

    def step(self, step: int) -> list[Batch]:
        """The micro batches of this rank at optimizer step `step`, counted from 0."""
        size = self.tune.micro_batch
        first = step * self.tune.global_batch
        return [
            self._batch(
                self._train,
                [self._sample(first + (m * self.size + self.rank) * size + j) for j in range(size)],
            )
            for m in range(self.micro_batches)
        ]

    def validation(self) -> Iterator[Batch]:
        """This rank's share of the held-out conversations, filled up with samples of weight 0."""
        size = self.tune.micro_batch
        for number in range(math.ceil(self._validation.count / (size * self.size))):
            first = (number * self.size + self.rank) * size
            yield self._batch(self._validation, range(first, first + size))

    def report(self, steps: int) -> list[dict[str, Any]]:
        """What became of the conversations, and how often each was trained on."""
        return [dict(self.counts) | {"epochs": steps * self.tune.global_batch / self._train.count}]

    def close(self) -> None:
        """Nothing runs in the background."""

    def _read(self, template: ChatTemplate, files: list[Path]) -> list[Encoded]:
        conversations = [one for path in files for one in read_conversations(path)]
        answered = [one for one in conversations if _has_answer(one)]
        self.counts["conversations"] += len(conversations)
        self.counts["skipped_empty"] += len(conversations) - len(answered)
        return [fitted for one in template.encode(answered) if (fitted := self._fit(one)) is not None]

    def _fit(self, one: Encoded) -> Encoded | None:
        """The conversation in at most S + 1 ids; None where no answer is left of it."""
        if len(one.tokens) <= self.length + 1:
            return one
        cut = Encoded(one.tokens[: self.length + 1], one.learned[: self.length + 1])
        self.counts["cut_long" if any(cut.learned) else "skipped_long"] += 1
        return cut if any(cut.learned) else None

    def _hold_out(self, samples: list[Encoded]) -> tuple[list[Encoded], list[Encoded]]:
        """A seeded share of the samples validates; at least one where there are two."""
        wanted = min(max(1, round(HELD_OUT * len(samples))), self.tune.validation_samples, len(samples) - 1)
        order = self._shuffle_of(len(samples), "held out")
        held_out = {int(index) for index in order[: max(0, wanted)]}
        return (
            [one for index, one in enumerate(samples) if index not in held_out],
            [samples[index] for index in sorted(held_out)],
        )

    def _choose(self, samples: list[Encoded], wanted: int) -> list[Encoded]:
        order = self._shuffle_of(len(samples), "validation")
        return [samples[index] for index in sorted(order[:wanted])]

    def _shuffle(self, epoch: int) -> NDArray[np.int64]:
        return self._shuffle_of(self._train.count, "train", epoch)

    def _shuffle_of(self, count: int, purpose: str, epoch: int = 0) -> NDArray[np.int64]:
        words = [self.seed, epoch, *purpose.encode()]
        return np.random.default_rng(words).permutation(count)

    def _sample(self, position: int) -> int:
        epoch, place = divmod(position, self._train.count)
        return int(self._permutation(epoch)[place])

    def _batch(self, samples: "_Samples", indices: Sequence[int]) -> Batch:
        tokens = np.full((len(indices), self.length), self.pad, dtype=np.int64)
        targets, weights = tokens.copy(), np.zeros(tokens.shape, dtype=np.float32)
        for row, index in enumerate(indices):
            if index < samples.count:
                ids, learned = samples.get(index)
                used = len(ids) - 1
                tokens[row, :used], targets[row, :used], weights[row, :used] = ids[:-1], ids[1:], learned[1:]
        return {"tokens": tokens, "targets": targets, "weights": weights}


class _Samples:
    """Conversations laid end to end in flat arrays: a million of them take memory by the token alone."""

    def __init__(self, samples: list[Encoded]) -> None:
        self.count = len(samples)
        self._ends = np.cumsum([len(one.tokens) for one in samples])
        self._tokens = np.concatenate([np.array(one.tokens, dtype=np.uint32) for one in samples])
        self._learned = np.concatenate([np.array(one.learned, dtype=bool) for one in samples])

    def get(self, index: int) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        place = slice(self._ends[index - 1] if index else 0, self._ends[index])
        return self._tokens[place], self._learned[place]


def _has_answer(conversation: Conversation) -> bool:
    return any(message.role == "assistant" and message.content.strip() for message in conversation)
