"""Every family equals transformers' model on the same weights: logits and gradients, float32.

Logits agree within 1e-5 of the largest one, gradients within 1e-4 of the largest of each parameter of ours:
both sides add the same products in other orders, an ulp of float32 being 6e-8. (A key's bias alone has a
gradient of zero but for rounding; it is part of the fused parameter.)
"""

import pytest
import torch
from torch.nn.functional import cross_entropy

from pipeline.distributed import world
from pipeline.objectives.losses import weighted_cross_entropy
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack
from tests.pipeline.conversion import references as ref


@pytest.mark.parametrize("name", ref.MODELS)
def test_logits_and_gradients_equal_transformers(name: str) -> None:
    world.start_alone()
    given, model = ref.config(name), ref.filled(name)
    stack = Stack(model_layers(given, ref.VOCABULARY, torch.float32)).eval()
    named = dict(stack.named())
    weights = ref.weights(name)
    with torch.no_grad():
        for path, parameter in named.items():
            parameter.copy_(weights[path])

    batch = ref.inputs(given)
    outputs, expected = stack(batch), ref.theirs(model, batch)
    real = batch.get("segments", torch.ones_like(batch["tokens"])).bool()
    logits_BSV = outputs["logits"].transpose(0, 1)
    wanted_BSV = expected.logits if "logits" in expected else expected.prediction_logits
    found = logits_BSV[real][:, : ref.VOCABULARY].detach()
    ref.close(found, wanted_BSV[real].detach(), 1e-5, "logits")

    targets = torch.randint(0, ref.VOCABULARY, real.shape, generator=torch.Generator().manual_seed(4))
    loss = weighted_cross_entropy(outputs["logits"], targets, real / real.sum())
    wanted = cross_entropy(wanted_BSV[real], targets[real])
    if "next_sentence_logits" in outputs:
        pair = outputs["next_sentence_logits"], ref.sentence_logits(expected)
        ref.close(pair[0].detach(), pair[1].detach(), 1e-5, "next sentence")
        loss, wanted = (total + one.square().sum() for total, one in zip((loss, wanted), pair, strict=True))
    torch.testing.assert_close(loss, wanted, rtol=1e-6, atol=0)
    loss.backward()
    wanted.backward()
    gradients = {path: parameter.grad for path, parameter in named.items() if parameter.grad is not None}
    assert gradients.keys() == named.keys()
    there = {path: one.grad for path, one in model.named_parameters() if one.grad is not None}
    ref.compare_gradients(name, gradients, there)
