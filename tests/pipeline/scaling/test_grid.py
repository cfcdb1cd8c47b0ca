"""A study's trainings: shapes, rules, and grids that no law could be fitted to, in one sentence."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from pipeline.config import DataConfig, ModelConfig, ObjectiveConfig, StudyConfig, TrainConfig
from pipeline.costs.flops import embedding_parameters, parameters
from pipeline.scaling.grid import Base, grid, micro_batch, stage_keys
from pipeline.scaling.shapes import shaped, spread
from pipeline.scaling.training_rules import batch_by_deepseek, rate_by_rule, rate_by_width


def base(**study: Any) -> Base:
    given = {"sizes": ["1x32", "2x32", "2x64"], "budgets": [1e10, 2e10, 4e10], "batch": 8, "head_size": 16}
    model, data = ModelConfig(positions="rope"), DataConfig(sequence_length=32)
    return Base(
        StudyConfig.model_validate(given | study), model, ObjectiveConfig(), data, TrainConfig(), 512, 7
    )


def test_every_size_has_every_budget_and_spends_it() -> None:
    cells = grid(base())
    assert [one.name for one in cells[:3]] == ["1x32-1e10", "1x32-2e10", "1x32-4e10"]
    assert len(cells) == 9
    for one, budget in zip(cells, [1e10, 2e10, 4e10] * 3, strict=True):
        assert one.flops == pytest.approx(budget, rel=0.02), "whole steps"
        assert one.tokens == one.steps * 8 * 32
        # 6 N D and the products of attention, with N the matrices: the word table counts as the head.
        n = one.parameters
        attention = 6 * one.model.layers * one.model.hidden_size * 32 / 2 * 2
        products = 6 * (n - biases_and_norms(one.model)) + attention
        assert one.flops == pytest.approx(products * one.tokens, rel=1e-6)


def biases_and_norms(model: ModelConfig) -> int:
    """Parameters that multiply nothing: 4 H + 4 H + H biases and 4 H of norms a layer, 2 H at the end."""
    h = model.hidden_size
    return model.layers * (3 * h + h + 4 * h + h + 4 * h) + 2 * h


def test_budgets_in_tokens() -> None:
    cells = grid(base(budgets=[20_000, 40_000, 80_000], budget_in="tokens"))
    assert [one.tokens for one in cells[:3]] == pytest.approx([20_000, 40_000, 80_000], rel=0.01)


def test_the_keys_of_a_stage_end_its_schedule_at_its_own_last_step() -> None:
    study = base(learning_rate={32: 4e-3, 128: 1e-3}, warmup_share=0.1, minimum_share=0.2, curve_points=5)
    cell = grid(study)[-1]
    keys = stage_keys(cell, study)
    assert keys["model"] == {"layers": 2, "hidden_size": 64, "heads": 4}
    assert (keys["steps"], keys["warmup_steps"]) == (cell.steps, round(cell.steps / 10))
    assert keys["learning_rate"] == pytest.approx(2e-3), "between the widths in logs"
    assert keys["minimum_learning_rate"] == pytest.approx(4e-4)
    assert cell.steps // keys["validate_every"] == 5


def test_repeats_are_the_middle_training_with_other_seeds() -> None:
    cells = grid(base(repeats=2))
    assert [(one.name, one.seed) for one in cells[-2:]] == [("2x32-2e10-seed8", 8), ("2x32-2e10-seed9", 9)]
    middle = next(one for one in cells if one.name == "2x32-2e10")
    assert replace(cells[-1], name=middle.name, seed=middle.seed) == middle


def test_the_largest_come_last_and_lie_beyond_the_grid() -> None:
    cells = grid(base(largest=[{"size": "2x64", "budget": 1e11}]))
    assert [one.held_out for one in cells] == [False] * 9 + [True]
    with pytest.raises(InputError, match=r"2x64-3e10 has 2.99e\+10 FLOPs, no more than the 4"):
        grid(base(largest=[{"size": "2x64", "budget": 3e10}]))


def test_trainings_far_from_their_best_size_are_left_out() -> None:
    cells = grid(base(tokens_per_parameter=[0.1, 6.0]))
    assert all(0.1 <= one.tokens / one.parameters <= 6 for one in cells)
    assert len(cells) == 7
    with pytest.raises(InputError, match=r"study\.tokens_per_parameter leaves too few"):
        grid(base(tokens_per_parameter=[100.0, 200.0]))


@pytest.mark.parametrize(
    ("study", "sentence"),
    [
        ({"sizes": ["1x32", "1x32", "1x32"]}, "study.sizes: 1 different sizes; a law of the size needs 3"),
        ({"sizes": ["1x32"]}, "a law of the size needs 3"),
        ({"budgets": [1e10]}, "study.budgets: one budget"),
        ({"budgets": [1e10, 1e10]}, "study.budgets: one budget"),
        ({"budgets": [1e10, 2e10]}, "6 trainings of 3 sizes are too few"),
        ({"budgets": [1e7, 1e10, 2e10]}, "1x32-1e7 would be 0 steps of 8 sequences"),
        (
            {"sizes": ["1x32", "2x32", "2x40"]},
            "study.sizes 2x40: heads of 16 do not fill the width; 32 would",
        ),
        ({"largest": [{"size": "2x64", "budget": 1e11}] * 2}, "2x64-1e11 is named twice"),
    ],
)
def test_what_cannot_be_a_study_is_one_sentence(study: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as told:
        grid(base(**study))
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


def test_a_range_of_parameters_becomes_shapes() -> None:
    sizes = StudyConfig.model_validate(
        {"sizes": {"smallest": 1e7, "largest": 1e9, "count": 5}, "budgets": [1e20, 2e20]}
    ).sizes
    model = ModelConfig(positions="rope")
    assert not isinstance(sizes, list)
    shapes = spread(sizes, model, 64, 32_000, 2048)
    counts = [parameters(shaped(model, *shape, 64), 32_000, 2048) for shape in shapes]
    np.testing.assert_allclose(np.diff(np.log(counts)), np.log(100) / 4, rtol=0.15)
    assert all(abs(layers - max(1, width / 64)) <= 0.5 for layers, width in shapes)
    with pytest.raises(InputError, match="are both nearest to 1x64"):
        spread(sizes.model_copy(update={"smallest": 2.1e6, "largest": 2.2e6}), model, 64, 32_000, 2048)


def test_shapes_keep_what_the_recipe_says_in_proportion() -> None:
    gated = ModelConfig(hidden_size=64, heads=2, head_size=16, feed_forward_size=96, activation="geglu")
    wide = shaped(gated, 3, 128)
    assert (wide.layers, wide.heads, wide.head_width, wide.mlp_size) == (3, 8, 16, 192)
    both = ModelConfig(architecture="encoder_decoder", positions="relative")
    assert shaped(both, 3, 128).encoder_depth == 3
    with pytest.raises(InputError, match=r"no multiple of model\.key_value_heads"):
        shaped(ModelConfig(hidden_size=64, heads=4, key_value_heads=2), 2, 48)


def test_embeddings_are_what_is_left_out() -> None:
    """Kaplan et al.: 12 l h^2 is what stays, with biases and norms."""
    model = ModelConfig(layers=2, hidden_size=64, heads=4, positions="learned")
    rest = parameters(model, 512, 32) - embedding_parameters(model, 512, 32)
    assert rest == 12 * 2 * 64**2 + biases_and_norms(model)


def test_published_rules() -> None:
    assert rate_by_rule("deepseek", 1e20, 1e8, 768, 256) == pytest.approx(0.3118 * 1e20**-0.125)
    assert rate_by_rule("kaplan", 1e20, 1.5e9, 1600, 512) == pytest.approx(2.9e-4, rel=0.02)
    assert rate_by_rule("marin", 1e20, 1e8, 768, 256) == pytest.approx(0.33 / 768 / 16)
    with pytest.raises(InputError, match="below 0"):
        rate_by_rule("kaplan", 1e25, 1e11, 8192, 512)
    assert batch_by_deepseek(1e12, 128) == 16
    assert rate_by_width({64: 1e-3}, 512) == pytest.approx(1e-3)
    assert rate_by_width({32: 4e-3, 64: 2e-3}, 128) == pytest.approx(1e-3), "the line goes on"


def test_micro_batches_divide() -> None:
    assert [micro_batch(batch, 8) for batch in (4, 8, 12, 16, 18)] == [4, 8, 6, 8, 6]
