"""A generator and a discriminator as two of transformers' folders, and what goes on from them."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from pipeline.checkpoints.run_folder import checkpoint_folder, read_config, write_config
from pipeline.conversion.export import export
from pipeline.conversion.imports import import_folder, write_checkpoint
from pipeline.conversion.skeleton import shapes
from pipeline.generation.beams import Beams
from pipeline.generation.load import load_model
from pipeline.prompting.fill import fill
from tests.pipeline import tiny
from tests.pipeline.conversion import references as ref


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose weights are drawn."""
    run = tmp_path_factory.mktemp("electra") / "pretrain"
    run.mkdir()
    given = tiny.config(
        model={"preset": "electra-tiny", "max_positions": 40},
        objective={"kind": "replaced_tokens", "generator_share": 0.5},
        data={"sequence_length": 32},
    )
    write_config(run, given)
    size = tiny.vocabulary(run / "tokenizer.model").size
    drawn = {path: ref.weight(path, torch.Size(shape)) for path, shape in shapes(given, size).items()}
    write_checkpoint(checkpoint_folder(run, 0), drawn.items())
    return run.parent


def test_both_go_out_as_transformers_classes_and_in_again(work: Path, tmp_path: Path) -> None:
    """What is proved is the discriminator's logits, the generator's, and a bare encoder's hidden states."""
    shown = export(work / "pretrain", tmp_path / "out", lambda line: None)
    assert shown["compared_with"] == shown["generator"]["compared_with"] == "transformers"
    assert max(shown["difference"], shown["generator"]["difference"]) < 1e-5
    both: list[Any] = [
        transformers.ElectraForPreTraining.from_pretrained(tmp_path / "out"),
        transformers.ElectraForMaskedLM.from_pretrained(tmp_path / "out" / "generator"),
    ]
    words = [model.electra.embeddings.word_embeddings.weight for model in both]
    assert torch.equal(*words)
    for name, bare in (("out", True), ("out/generator", False)):
        run = tmp_path / f"run-{bare}"
        assert import_folder(tmp_path / name, run, lambda line: None)["compared_with"] == "transformers"
        config = read_config(run)
        assert (config.model.word_size, config.model.language_head) == (24, not bare)
        again = export(run, tmp_path / f"again-{bare}", lambda line: None)
        assert (again["model_type"], again["compared_with"]) == ("electra", "transformers")


def test_the_generator_fills_in_blanks(work: Path) -> None:
    model = load_model(work / "pretrain")
    assert (model.config.objective.kind, model.config.model.hidden_size) == ("masked_lm", 32)
    found = fill(model, ["returns the <mask>"], 3, 8, Beams())
    assert len(found) == 1
