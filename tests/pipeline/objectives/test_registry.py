"""From the recipe to a batch: shapes are those announced, and what does not go together is refused."""

from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from data_prep.contract.settings import InputError
from pipeline.config import DataConfig, ObjectiveConfig
from pipeline.config.objective import ON_IMAGES, TRAINS
from pipeline.objectives.registry import OBJECTIVES, objective_of
from tests.pipeline import tiny
from tests.pipeline.objectives.rows import random_samples, special

KINDS: list[dict[str, object]] = [
    {"kind": "causal_lm"},
    {"kind": "prefix_lm"},
    {"kind": "masked_lm"},
    {"kind": "masked_lm", "masking": "whole_word", "sentence_task": "sentence_order"},
    {"kind": "masked_lm", "masking": "span", "noise_density": 0.3},
    {"kind": "span_corruption"},
    {"kind": "span_corruption", "closing_sentinel": True, "mean_span": 5.0, "noise_density": 0.5},
    {"kind": "denoising"},
    {"kind": "denoising", "noises": ["mask", "delete", "infill", "permute_sentences", "rotate"]},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [8, 33, 128])
@pytest.mark.parametrize("full", [True, False])
def test_every_batch_has_the_announced_shape(kind: dict[str, object], length: int, full: bool) -> None:
    objective, data = ObjectiveConfig.model_validate(kind), DataConfig(sequence_length=length)
    expected = objective_of(objective).shape(data)
    given = random_samples(6, expected.width, eos=0.1)
    if not full:
        given.lengths[:] = np.linspace(0, expected.width, 6).astype(int)
    batch = objective_of(objective).batches(data, special())(given)
    inputs, outputs = (6, expected.inputs), (6, expected.targets or expected.inputs)
    assert batch["encoder_tokens" if expected.targets else "tokens"].shape == inputs
    for name in ("tokens", "targets", "weights"):
        assert batch[name].shape == outputs
    assert {name: array.dtype for name, array in batch.items()} == {
        name: np.dtype(np.float32 if "weights" in name else np.int32 if "segments" in name else np.int64)
        for name in batch
    }
    assert all(array.flags.c_contiguous for array in batch.values())
    assert expected.inputs <= length
    if not full:
        assert batch["weights"][0].sum() == 0


def test_every_kind_of_the_recipe_has_an_objective_and_an_architecture() -> None:
    kinds = set(get_args(ObjectiveConfig.model_fields["kind"].annotation))
    assert set(OBJECTIVES) == kinds == {kind for trained in (*TRAINS.values(), ON_IMAGES) for kind in trained}


def test_a_setting_that_came_later_changes_no_older_fingerprint() -> None:
    assert "label_smoothing" not in ObjectiveConfig().identity()
    assert ObjectiveConfig(label_smoothing=0.1).identity()["label_smoothing"] == 0.1


@pytest.mark.parametrize(
    ("kind", "tokens"),
    [("causal_lm", 8 + 2), ("masked_lm", 8 + 4), ("span_corruption", 8 + 3 + 3 + 3), ("denoising", 16 + 6)],
)
def test_tokens_are_counted_without_padding(kind: str, tokens: int) -> None:
    """Of one full sample and one of two tokens; an encoder and a decoder both read, reserved tokens count."""
    settings = ObjectiveConfig.model_validate({"kind": kind, "noises": ["mask"]})
    objective, data = objective_of(settings), DataConfig(sequence_length=8)
    given = random_samples(2, objective.shape(data).width)
    given.lengths[1] = 2
    batch = objective.batches(data, special())(given)
    assert objective.tokens(batch) == tokens


def test_inside_documents_adds_its_keys() -> None:
    data = DataConfig(sequence_length=16, attention="inside_documents")
    batch = objective_of(ObjectiveConfig()).batches(data, special())(random_samples(2, 16))
    assert set(batch) == {"tokens", "targets", "weights", "segments", "positions"}


def test_too_few_sentinels_are_refused() -> None:
    objective = ObjectiveConfig(kind="span_corruption")
    with pytest.raises(InputError, match="2048 needs 114 sentinels where the tokenizer has 100"):
        objective_of(objective).batches(DataConfig(sequence_length=2048), special())
    objective_of(objective).batches(DataConfig(sequence_length=1024), special())


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"objective": {"kind": "masked_lm"}, "data": {"attention": "inside_documents"}},
            "inside_documents does not go with objective.kind masked_lm",
        ),
        ({"objective": {"sentence_task": "next_sentence"}}, "does not go with objective.kind causal_lm"),
        ({"objective": {"kind": "denoising"}, "data": {"sequence_length": 4}}, "leaves no room"),
        ({"objective": {"kind": "gpt"}}, "objective.kind"),
        ({"objective": {"kind": "denoising", "noises": ["salt"]}}, "objective.noises"),
        ({"objective": {"noise_density": 1.5}}, "objective.noise_density"),
    ],
)
def test_what_does_not_go_together_is_refused(sections: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        tiny.config(**sections)
