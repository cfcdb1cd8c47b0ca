"""Every family equals transformers' model on the same weights: logits and gradients, float32.

Logits agree within 1e-5 of the largest one, gradients within 1e-4 of the largest of each parameter of ours:
both sides add the same products in other orders, an ulp of float32 being 6e-8. (A key's bias alone has a
gradient of zero but for rounding; it is part of the fused parameter.)
"""

import pytest
import torch
from torch import Tensor

from pipeline.models.build import model_layers
from pipeline.parallel import world
from pipeline.parallel.stack import Stack
from pipeline.training.loss import weighted_cross_entropy
from tests.pipeline.conversion import references as ref


@pytest.mark.parametrize("name", ref.MODELS)
def test_logits_and_gradients_equal_transformers(name: str) -> None:
    world.start_alone()
    given = ref.config(name)
    stack = Stack(model_layers(given, ref.VOCABULARY, torch.float32)).eval()
    named = dict(stack.named())
    unused = name == "gpt-neo"  # has no biases of queries, keys and values
    with torch.no_grad():
        for one, parameter in named.items():
            parameter.copy_(ref.weight(one, parameter.shape))
            if unused and one.endswith("qkv.bias"):
                parameter.zero_()
    model, family = ref.reference(name, given)
    the_links = ref.whole_links(given, family, list(named))
    ref.fill(model, the_links, {one: parameter.detach() for one, parameter in named.items()})

    batch = ref.inputs(given)
    outputs, expected = stack(batch), ref.theirs(model, batch)
    real = batch.get("segments", torch.ones_like(batch["tokens"])).bool()
    logits_BSV = outputs["logits"].transpose(0, 1)
    wanted_BSV = expected.logits if "logits" in expected else expected.prediction_logits
    close(logits_BSV[real][:, : ref.VOCABULARY], wanted_BSV[real], 1e-5, "logits")
    if "next_sentence_logits" in outputs:
        close(outputs["next_sentence_logits"], expected.seq_relationship_logits, 1e-5, "next sentence")

    targets = torch.randint(0, ref.VOCABULARY, real.shape, generator=torch.Generator().manual_seed(4))
    loss = weighted_cross_entropy(outputs["logits"], targets, real / real.sum())
    wanted = torch.nn.functional.cross_entropy(wanted_BSV[real], targets[real])
    if "next_sentence_logits" in outputs:
        loss = loss + outputs["next_sentence_logits"].square().sum()
        wanted = wanted + expected.seq_relationship_logits.square().sum()
    torch.testing.assert_close(loss, wanted, rtol=1e-6, atol=0)
    loss.backward()
    wanted.backward()
    there = dict(model.named_parameters())
    gradients = {one: parameter.grad for one, parameter in named.items()}
    assert all(gradient is not None for gradient in gradients.values())
    for link in the_links:
        pairs = [
            (gradient.flatten(), there[path].grad.flatten())
            for path, gradient in zip(link.theirs, link.out([gradients[o] for o in link.ours]), strict=True)
            if path in there
        ]
        if pairs or not unused:
            found, wanted = (torch.cat(side) for side in zip(*pairs, strict=True))
            close(found, wanted, 1e-4, link.ours[0])


def close(found: Tensor, wanted: Tensor, tolerance: float, what: str) -> None:
    """Within a share of the largest value."""
    largest = float(wanted.detach().abs().max())
    assert 0 < largest < float("inf"), what
    torch.testing.assert_close(
        found, wanted, rtol=0, atol=tolerance * largest, msg=lambda why: f"{what}: {why}"
    )
