"""ELECTRA's batches: padding, proportions within binomial bounds; the area under the curve by brute force."""

import numpy as np
import pytest
import torch

from pipeline.config import DataConfig, ModelConfig, ObjectiveConfig, PipelineConfig
from pipeline.objectives.batches import Batch
from pipeline.objectives.registry import objective_of
from pipeline.objectives.replaced import area
from tests.pipeline.objectives.rows import MASK, PAD, random_samples, samples, special
from tests.pipeline.objectives.test_masked import within

SETTINGS = ObjectiveConfig(kind="replaced_tokens", noise_density=0.2)


def made(given: object) -> Batch:
    make = objective_of(SETTINGS).make_batch(DataConfig(sequence_length=32), special())
    return make(given)  # type: ignore[arg-type]


def test_hidden_tokens_are_masked_or_stay_and_each_has_a_draw() -> None:
    given = random_samples(1500, 62)
    batch = made(given)
    hidden = batch["weights"] > 0
    masked = batch["tokens"] == MASK
    np.testing.assert_array_equal(batch["originals"], batch["targets"])
    assert not (masked & ~hidden).any()
    np.testing.assert_array_equal(batch["tokens"][~masked], batch["targets"][~masked])
    assert within(int(masked.sum()), int(hidden.sum()), 0.85)
    np.testing.assert_array_equal(batch["draws"] >= 0, hidden)
    assert within(int((batch["draws"][hidden] < 2**29).sum()), int(hidden.sum()), 0.25)
    assert (batch["token_weights"] == 1).all()
    again = made(given)
    assert all((again[name] == batch[name]).all() for name in batch)


def test_padding_counts_for_neither() -> None:
    batch = made(samples([[200, 201, 202, 203], [204]]))
    assert batch["token_weights"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert (batch["draws"][1, 3:] == -1).all()
    assert (batch["tokens"][1, 3:] == PAD).all()
    assert objective_of(SETTINGS).tokens(batch) == 9


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    rng = np.random.default_rng(3)
    scores, labels = rng.integers(0, 9, (4, 11)).astype(float), rng.integers(0, 2, (4, 11)).astype(float)
    weights = (rng.random((4, 11)) > 0.3).astype(float)
    real = weights > 0
    ones, zeros = scores[real & (labels == 1)], scores[real & (labels == 0)]
    wins = (ones[:, None] > zeros).mean() + 0.5 * (ones[:, None] == zeros).mean()
    found = area(*(torch.from_numpy(one) for one in (scores, labels, weights)))
    assert float(found) == pytest.approx(wins, abs=1e-6)
    assert float(area(torch.rand(2, 3), torch.zeros(2, 3), torch.ones(2, 3))) == 0.5


@pytest.mark.parametrize(
    ("model", "objective", "said"),
    [
        (
            {"hidden_size": 30, "heads": 3},
            {"generator_share": 0.7},
            "width 21 with 2 heads, which does not divide",
        ),
        ({"tied_output": False}, {}, "replaced_tokens needs model.tied_output True"),
        ({}, {"sentence_task": "next_sentence"}, "does not go with objective.kind replaced_tokens"),
        ({"architecture": "decoder"}, {}, "does not train a model.architecture decoder"),
    ],
)
def test_what_electra_cannot_be_is_said(
    model: dict[str, object], objective: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        PipelineConfig(
            name="x",
            model=ModelConfig(**{"architecture": "encoder"} | model),
            objective=ObjectiveConfig(**{"kind": "replaced_tokens"} | objective),
        )
