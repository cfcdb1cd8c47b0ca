"""Maps of attention have the shares that the model computes with, by the masks it uses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_prep.contract.receipt import Receipt
from data_prep.contract.report import Heatmaps
from pipeline.evaluation.attention_maps import CROSS, DECODER, ENCODER, attention_maps
from pipeline.evaluation.scoring import batch_logits
from pipeline.reports import plots
from pipeline.stages.attention import MAPS, AttentionMaps
from tests.pipeline.generation.models import BOTH, random_model

LENGTH = 12


def tokens(seed: int, length: int = LENGTH) -> Any:
    return np.random.default_rng(seed).integers(4, 384, (1, length))


def maps(kind: str, inputs: dict[str, Any], **model: Any) -> dict[str, Any]:
    loaded = random_model(kind, **model)
    before = batch_logits(loaded, inputs)
    found = {one.where: one.shares for one in attention_maps(loaded, loaded.module, inputs)}
    assert torch.equal(before, batch_logits(loaded, inputs)), "looking changes nothing, then or afterwards"
    for shares in found.values():
        np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)
    return found


def test_a_decoder_looks_back() -> None:
    shares = maps("causal_lm", {"tokens": tokens(0)})[DECODER]
    before = np.tril(np.ones((LENGTH, LENGTH), bool))
    assert (shares[before] > 0).all()
    assert (shares[~before] == 0).all()


def test_a_band_of_a_decoder_is_half_of_the_mean_over_its_layers() -> None:
    shares = maps("causal_lm", {"tokens": tokens(0)}, local_window=3)[DECODER]
    near = np.tril(np.ones((LENGTH, LENGTH), bool)) & ~np.tril(np.ones((LENGTH, LENGTH), bool), -3)
    assert shares[near].sum() > 0.5 * LENGTH, "every second layer sees no further"


def test_a_prefix_is_seen_both_ways() -> None:
    shares = maps("prefix_lm", {"tokens": tokens(0), "prefix": np.array([5])})[DECODER]
    assert (shares[:5, :5] > 0).all()
    assert (shares[:5, 5:] == 0).all()
    assert (np.triu(shares[5:, 5:], 1) == 0).all()


def test_an_encoder_looks_both_ways_and_not_at_padding() -> None:
    inputs = {"tokens": tokens(0), "segments": np.array([[1] * 9 + [0] * 3])}
    found = maps("masked_lm", inputs, architecture="encoder")
    assert list(found) == [ENCODER]
    assert (found[ENCODER][:9, :9] > 0).all()
    assert (found[ENCODER][:9, 9:] == 0).all()


def test_an_encoder_decoder_has_three_kinds() -> None:
    inputs = {"encoder_tokens": tokens(0), "tokens": tokens(1, 7)}
    found = maps("span_corruption", inputs, architecture="encoder_decoder", **BOTH["t5"])
    assert {where: shares.shape for where, shares in found.items()} == {
        ENCODER: (LENGTH, LENGTH),
        DECODER: (7, 7),
        CROSS: (7, LENGTH),
    }
    assert (found[ENCODER] > 0).all()
    assert (np.triu(found[DECODER], 1) == 0).all()
    assert (found[CROSS] > 0).all()


def test_without_queries_shares_are_even() -> None:
    """All scores are 0 then, so that position i gives 1 / (i + 1) to each that it sees."""
    model = random_model("causal_lm")
    with torch.no_grad():
        for name, parameter in model.module.named():
            if "qkv" in name:
                parameter.zero_()
    (found,) = attention_maps(model, model.module, {"tokens": tokens(0)})
    wanted = np.tril(1 / np.arange(1, LENGTH + 1)[:, None] * np.ones((LENGTH, LENGTH)))
    np.testing.assert_allclose(found.shares, wanted, atol=1e-6)


@pytest.mark.parametrize("count", [1, 3])
def test_they_are_drawn(tmp_path: Path, count: int) -> None:
    shares = np.tril(np.full((6, 6), 0.2)).tolist()
    told = {"base": [{"where": DECODER, "shares": shares}] * count}
    (tmp_path / MAPS).write_text(json.dumps(told))
    (section,) = AttentionMaps().report(tmp_path, Receipt.model_construct()).sections
    (chart,) = [part for part in section.parts if isinstance(part, Heatmaps)]
    assert len(chart.panels) == count
    assert plots.png(plots.heatmaps(chart)).startswith(b"\x89PNG")
