"""What a position sees: its own document, what was before it; and rows that fill up the word table.

That every family computes what transformers' does is tested with the names of `pipeline.conversion`.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.config import DataConfig, ModelConfig, PipelineConfig
from pipeline.distributed import world
from pipeline.models.initialize import initialize
from pipeline.objectives.losses import weighted_cross_entropy
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack

VOCABULARY, LENGTH, BATCH, LAYERS, HIDDEN, HEADS = 384, 24, 3, 2, 64, 4


def ours(**model: Any) -> tuple[Stack, dict[str, Tensor]]:
    """A model of ours with random weights, biases and norms too, and its parameters by name."""
    world.start_alone()
    config = PipelineConfig(
        name="reference",
        model=ModelConfig(layers=LAYERS, hidden_size=HIDDEN, heads=HEADS, initial_std=0.2, **model),
        data=DataConfig(sequence_length=LENGTH),
    )
    stack = Stack(model_layers(config, VOCABULARY, torch.float32))
    named = dict(stack.named())
    initialize(named.items(), 0, 0, 1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in named.values():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return stack, named


def logits(stack: Stack, **inputs: Tensor) -> Tensor:
    """[S, B, V]."""
    return stack(inputs)["logits"]


@pytest.mark.parametrize("positions", ["learned", "rope"])
def test_attention_stays_inside_documents(positions: str) -> None:
    """Two documents packed in one row give the logits that each gives alone."""
    stack, _ = ours(positions=positions)
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.randint(0, VOCABULARY, (1, n), generator=generator) for n in (9, 15))
    segments = torch.tensor([[0] * 9 + [1] * 15], dtype=torch.int32)
    where = torch.cat((torch.arange(9), torch.arange(15))).unsqueeze(0)
    packed = logits(stack, tokens=torch.cat((first, second), 1), positions=where, segments=segments)
    apart = torch.cat((logits(stack, tokens=first), logits(stack, tokens=second)))
    torch.testing.assert_close(packed, apart, rtol=0, atol=1e-5 * float(apart.abs().max()))


def test_no_position_sees_the_future() -> None:
    stack, _ = ours()
    tokens = torch.arange(LENGTH).unsqueeze(0)
    changed = tokens.clone()
    changed[0, 10] = 99
    before, after = logits(stack, tokens=tokens), logits(stack, tokens=changed)
    assert torch.equal(before[:10], after[:10])
    assert not torch.allclose(before[10:], after[10:])


def test_rows_that_fill_up_the_word_table_take_no_probability() -> None:
    """A vocabulary of 300 has 384 rows, and its losses are those of a softmax over 300."""
    world.start_alone()
    config = PipelineConfig(
        name="padding",
        model=ModelConfig(layers=1, hidden_size=32, heads=4, initial_std=0.2),
        data=DataConfig(sequence_length=LENGTH),
    )
    stack = Stack(model_layers(config, 300, torch.float32))
    named = dict(stack.named())
    initialize(named.items(), 0, 0, 1)
    generator = torch.Generator().manual_seed(4)
    tokens = torch.randint(0, 300, (BATCH, LENGTH), generator=generator)
    found_SBV = logits(stack, tokens=tokens)
    assert found_SBV.shape[2] == 384
    weights = torch.rand(BATCH, LENGTH, generator=generator)
    loss = weighted_cross_entropy(found_SBV, tokens, weights)
    wanted = -found_SBV[..., :300].log_softmax(-1).gather(2, tokens.t().unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(loss, (wanted * weights.t()).sum(), rtol=1e-6, atol=0)
    loss.backward()
    gradient = named["words.table.weight"].grad
    assert gradient is not None
    assert gradient[:300].abs().sum(1).min() > 0
    assert not gradient[300:].any()
