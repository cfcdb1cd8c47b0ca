"""Conversations that share rows: each is there once, sees itself alone, and has the loss it has alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.config import PipelineConfig, TuneConfig
from pipeline.tuning.batches import InstructionBatches
from tests.pipeline import tiny
from tests.pipeline.generation.models import VOCABULARY, random_model

LENGTH = 40


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return tiny.vocabulary(tmp_path_factory.mktemp("pieces") / "tokenizer.model")


def recipe(**model: object) -> PipelineConfig:
    objective = {"kind": "span_corruption"} if model.get("architecture") == "encoder_decoder" else {}
    config = tiny.config(data={"sequence_length": LENGTH}, model=model, objective=objective)
    tune = TuneConfig(global_batch=4, micro_batch=4, pack=True)
    return config.model_copy(update={"train": tune})


def source(folder: Path, vocabulary: Vocabulary, count: int = 30) -> InstructionBatches:
    rows = [
        {"instruction": " ".join(text.split()[:3]), "output": text.split()[-1]}
        for text in tiny.sentences(count, 5)
    ]
    path = folder / "pairs.jsonl"
    path.write_text("".join(f"{row}\n".replace("'", '"') for row in rows))
    return InstructionBatches(recipe(), vocabulary, [path], [path], 0, 1)


def test_rows_are_full_and_hold_every_conversation_once(tmp_path: Path, vocabulary: Vocabulary) -> None:
    batches = source(tmp_path, vocabulary)
    report = batches.report(1)[0]
    assert report["train"] == 30
    assert report["rows"] < 30, "some share a row"
    assert report["epochs"] == 4 / report["rows"]
    found: list[bytes] = []
    held = list(batches.validation())
    for batch in held:
        for tokens, segments, positions in zip(
            batch["tokens"], batch["segments"], batch["positions"], strict=True
        ):
            for number in range(1, segments.max() + 1):
                inside = segments == number
                assert positions[inside].tolist() == list(range(inside.sum()))
                found.append(tokens[inside].tobytes())
    assert len(found) == 30
    assert sum(int((batch["segments"].max(axis=1) > 0).sum()) for batch in held) == report["rows"]


@pytest.mark.parametrize("positions", ["learned", "rope", "alibi"])
def test_a_conversation_does_not_see_its_neighbours(
    tmp_path: Path, vocabulary: Vocabulary, positions: str
) -> None:
    """Logits of each in its row are those that it has alone, to 1e-4 of numbers near 10."""
    model = random_model(positions=positions)
    assert vocabulary.size <= VOCABULARY
    [batch] = source(tmp_path, vocabulary).step(0)
    inputs = {name: torch.from_numpy(batch[name]) for name in ("segments", "positions")}
    together = model.logits(torch.from_numpy(batch["tokens"]), **inputs)
    shared = 0
    for row, segments in enumerate(batch["segments"]):
        for number in range(1, segments.max() + 1):
            inside = segments == number
            alone = model.logits(torch.from_numpy(batch["tokens"][row][inside][None]))
            real = alone.isfinite()
            np.testing.assert_allclose(together[row][inside][real[0]], alone[real], atol=1e-4)
        shared += segments.max() > 1
    assert shared, "a row with neighbours was looked at"


def test_an_encoder_reads_one_conversation(tmp_path: Path, vocabulary: Vocabulary) -> None:
    path = tmp_path / "pairs.jsonl"
    tiny.write_pairs(path, 10)
    with pytest.raises(InputError, match=r"tune\.pack is for decoders"):
        InstructionBatches(recipe(architecture="encoder_decoder"), vocabulary, [path], [path], 0, 1)
