"""Weights that start as training ends: where heads look, and what an encoder-decoder learns from it."""

import pytest
import torch
from pydantic import ValidationError

from pipeline.config import ModelConfig
from pipeline.distributed import world
from pipeline.models.initialize import initialize
from pipeline.models.layer import Flow
from pipeline.models.mimetic import DEEPEST, SHARPEST
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack
from tests.pipeline import tiny

VOCABULARY, LENGTH, HEADS = 384, 16, 4
T5 = {"preset": "t5-1.1-tiny", "heads": HEADS, "layers": 2, "hidden_size": 64}


def ours(mimetic: bool, **model: object) -> dict[str, torch.Tensor]:
    """A T5's first weights by name."""
    return dict(built(mimetic, **model).named())


def built(mimetic: bool, **model: object) -> Stack:
    """A T5 whose weights are drawn."""
    world.start_alone()
    config = tiny.config(
        model=T5 | {"mimetic": mimetic} | model,
        objective={"kind": "span_corruption"},
        data={"sequence_length": LENGTH},
    )
    stack = Stack(model_layers(config, VOCABULARY, torch.float32))
    initialize(stack.named(), 0, 0, 1)
    return stack


def test_half_of_the_heads_start_near() -> None:
    """An encoder's by turns at the token before and at the one after, a decoder's at the own token."""
    drawn, started = ours(False), ours(True)
    both_ways, one_way = started["encoder.relative.weight"], started["decoder.relative.weight"]
    own, before, far_before, after, far_after = 0, 1, 15, 17, 31  # buckets; 16 has no offset
    looks_before, looks_after = both_ways[:, 0].tolist(), both_ways[:, 1].tolist()
    places = (far_before, own, before, after, far_after)
    assert [looks_before[place] for place in places] == [-DEEPEST, -SHARPEST, 0, -2 * SHARPEST, -DEEPEST]
    assert [looks_after[place] for place in places] == [-DEEPEST, -SHARPEST, -2 * SHARPEST, 0, -DEEPEST]
    assert one_way[:2, 0].tolist() == [0, -SHARPEST]
    assert one_way[:2, 1].tolist() == [0, -SHARPEST / 2]
    for name, weight in (("encoder", both_ways), ("decoder", one_way)):
        torch.testing.assert_close(weight[:, 2:], drawn[f"{name}.relative.weight"][:, 2:], rtol=0, atol=0)


def test_an_encoder_is_read_from_the_start() -> None:
    """Each hidden token is the one before it again: that takes what is next to the right sentinel.

    Guessing costs ln 32 = 3.5 nats, and drawn weights cost little less when the others know it all.
    """
    losses = {one: learned(built(one), steps=75) for one in (True, False)}
    assert losses[True] < 0.5
    assert losses[False] > 2.5


def learned(stack: Stack, steps: int) -> float:
    """The mean loss of the last ten steps on blanks that repeat the token before them."""
    optimizer = torch.optim.Adam(dict(stack.named()).values(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(steps):
        batch, hidden = repeating(64, 3, generator)
        logits = stack(batch)["logits"].transpose(0, 1)[:, ::2]  # behind sentinels
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), hidden.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-10:]) / 10


def repeating(count: int, spans: int, generator: torch.Generator) -> tuple[Flow, torch.Tensor]:
    """Samples of words among 32 with `spans` sentinels in random places, and what each of them hides."""
    words = torch.randint(200, 232, (count, LENGTH), generator=generator)
    order = torch.rand(count, LENGTH // 2, generator=generator).argsort()
    places = order[:, :spans].sort().values * 2 + 1
    hidden = words.gather(1, places - 1)
    sentinels = torch.arange(100, 100 + spans).expand(count, -1)
    given = torch.stack((sentinels, hidden), 2).flatten(1)  # the decoder says a sentinel, then what it hides
    return {"encoder_tokens": words.scatter(1, places, sentinels), "tokens": given}, hidden


def test_keys_of_cross_attention_start_as_its_queries() -> None:
    """But for their scale; a group's key as its first query. Values, and all other weights, are as drawn."""
    for groups in (HEADS, 2):
        drawn, started = (ours(one, key_value_heads=groups) for one in (False, True))
        names = [f"decoder.blocks.{i}.cross.key_value.weight" for i in (0, 1)]
        for name in names:
            keys, values = started[name].view(groups, 2, 16, 64).unbind(1)
            queries = started[name.replace("key_value", "query")].view(groups, HEADS // groups, 16, 64)
            torch.testing.assert_close(keys, queries[:, 0] * 16**0.5)
            torch.testing.assert_close(values, drawn[name].view(groups, 2, 16, 64)[:, 1], rtol=0, atol=0)
        for name in drawn.keys() - {*names, "encoder.relative.weight", "decoder.relative.weight"}:
            torch.testing.assert_close(started[name], drawn[name], rtol=0, atol=0)


def test_a_model_that_it_changes_nothing_of_is_refused() -> None:
    with pytest.raises(ValidationError, match="mimetic is for positions relative and for architecture enc"):
        ModelConfig(mimetic=True)
