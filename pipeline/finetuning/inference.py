"""What a fine-tuned model predicts: in one process from a run, or in the layout of its training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.run_folder import read_config
from pipeline.distributed.gathering import from_main, gathered
from pipeline.evaluation.scoring import batches_by_length
from pipeline.finetuning.batches import TaskBatches
from pipeline.generation.beams import Beams, beam_search
from pipeline.generation.load import LoadedModel, find_checkpoint, open_model
from pipeline.parallel.examples import tensors
from pipeline.prompting.text import stop_ids
from pipeline.tasks.rows import Row
from pipeline.tasks.saved import read_task
from pipeline.tasks.task import Feature, Prediction, Task

if TYPE_CHECKING:
    from pipeline.parallel.engine import Engine

Raw = list[NDArray[Any]]


@dataclass(frozen=True)
class FineTuned:
    """A model and the task that it was tuned for."""

    task: Task
    model: LoadedModel

    def predict(self, rows: Sequence[Row], wanted: bool = False) -> list[Prediction]:
        """What it says of each row; with `wanted` rows say themselves what would be right."""
        features = [one for index, row in enumerate(rows) for one in self.task.features(row, index, wanted)]
        return self.of(rows, features)

    def of(self, rows: Sequence[Row], features: Sequence[Feature]) -> list[Prediction]:
        """The same where the features are made already."""
        raw: list[Any] = [None] * len(features)
        for batch in batches_by_length([one.length * len(one.texts) for one in features]):
            some = [features[index] for index in batch]
            for index, found in zip(batch, self._raw(some), strict=True):
                raw[index] = found
        return self.task.predictions(rows, features, raw)

    @torch.inference_mode()
    def _raw(self, features: list[Feature]) -> Raw:
        if self.task.generates:
            return self._generated(features)
        batch = self.task.batch(features, features)
        outputs = self.model.module(tensors(batch, self.model.device))
        return list(self.task.raw(outputs["scores"], features))

    def _generated(self, features: list[Feature]) -> Raw:
        """The ids that a decoder says after what its encoder reads."""
        how: Any = self.task.settings
        prompts = [one.texts[0].tokens for one in features]
        beams = Beams(how.beams, how.length_penalty)
        stops = stop_ids(self.model.vocabulary)
        return [np.array(one) for one in beam_search(self.model, prompts, how.answer_tokens, beams, stops)]


def load(path: Path, average: bool = False) -> FineTuned:
    """The model of a fine-tuned run or of one of its checkpoints. `InputError` where it is none."""
    checkpoint, run = find_checkpoint(path)
    config, vocabulary = read_config(run), Vocabulary(run / TOKENIZER)
    task = read_task(run, config, vocabulary)
    head = None if task.generates else task.head
    return FineTuned(task, open_model(checkpoint, config, vocabulary, average, head))


def measure(engine: "Engine", source: TaskBatches) -> dict[str, float]:
    """The measures of the validation rows in the layout of a training; all ranks call this together."""
    task, part = source.task, source.prepared.validation
    batches = source.validation_features()
    outputs = engine.forward(list(source.validation()))
    mine: list[tuple[Feature, Any]] = []
    if outputs and engine.world.tensor_rank == 0:
        for features, flow in zip(batches, outputs, strict=True):
            pairs = zip(features, task.raw(flow["scores"], features), strict=True)
            mine += [(feature, raw) for feature, raw in pairs if feature.row >= 0]
    found = sorted((pair for rank in gathered(mine) for pair in rank), key=lambda pair: pair[0].row)
    measures = None
    if engine.world.is_main:
        predictions = task.predictions(part.rows, [one for one, _ in found], [raw for _, raw in found])
        measures = {one.name: one.value for one in task.measures(part.rows, predictions)}
    told = from_main(measures)
    assert told is not None
    return told
