"""What pretraining refuses before anything is started."""

from pathlib import Path

import pytest

from data_prep.contract.settings import InputError
from pipeline.config import DataConfig, ModelConfig, ObjectiveConfig, PipelineConfig
from tests.pipeline.stages_of import pretraining


@pytest.mark.parametrize("head", [True, False])
def test_a_bare_encoder_has_nothing_that_learns_words(head: bool, tiny_dataset: Path) -> None:
    config = PipelineConfig(
        name="bare",
        model=ModelConfig(
            architecture="encoder", language_head=head, positions="learned", layers=1, hidden_size=32, heads=2
        ),
        objective=ObjectiveConfig(kind="masked_lm"),
        data=DataConfig(sequence_length=32),
    )
    if head:
        assert pretraining(config, tiny_dataset.parent).stage == "pretrain"
        return
    said = "pretrain: model.language_head is false, and it is by that head that masked_lm is learned"
    with pytest.raises(InputError, match=said):
        pretraining(config, tiny_dataset.parent)
