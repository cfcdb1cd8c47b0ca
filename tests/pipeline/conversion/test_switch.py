"""The Switch Transformer's whole loss and its gradients equal transformers', balance and z losses among them.

Transformers takes the mean of the layers' routers where Fedus et al. 2022, equation 4, add up the losses of
the layers, so both are compared with one layer with experts in each stack, and its functions layer by layer
with more. Tolerances as in `test_equality`.
"""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers.models.switch_transformers import modeling_switch_transformers as theirs

from data_prep.contract.settings import InputError
from pipeline.conversion.families.pairs import SWITCH
from pipeline.distributed import world
from pipeline.objectives.experts import with_experts
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.parallel.stack import Stack
from tests.pipeline.conversion import references as ref

BALANCE, Z = 0.3, 0.2


@pytest.mark.parametrize("layers", [2, 4])
def test_the_loss_with_its_routers_equals_transformers(layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world.start_alone()
    weighted = ref.MODELS["switch"]["experts"] | {"balance": BALANCE, "z": Z}
    monkeypatch.setitem(ref.MODELS, "switch", ref.MODELS["switch"] | {"layers": layers, "experts": weighted})
    given, model = ref.config("switch"), ref.filled("switch")
    built = model_layers(given, ref.VOCABULARY, torch.float32)
    stack, loss = Stack(built).eval(), with_experts(objective_of(given.objective), built)
    named, weights = dict(stack.named()), ref.weights("switch")
    with torch.no_grad():
        for path, parameter in named.items():
            parameter.copy_(weights[path])

    batch = {name: one for name, one in ref.inputs(given).items() if name != "encoder_segments"}
    targets = torch.randint(0, ref.VOCABULARY, batch["tokens"].shape)
    labels = {"targets": targets, "weights": torch.full(targets.shape, 1.0 / targets.numel())}
    total, metrics = loss(stack(batch), labels)

    outputs = model(
        input_ids=batch["encoder_tokens"], decoder_input_ids=batch["tokens"], output_router_logits=True
    )
    wanted = cross_entropy(outputs.logits.flatten(0, 1), targets.flatten())
    routers = [*outputs.encoder_router_logits, *outputs.decoder_router_logits]
    assert len(routers) == layers
    extra = sum(BALANCE * _balance(one) + Z * theirs.router_z_loss_func(one) for one in routers)
    if layers == 2:
        at_once = model(
            input_ids=batch["encoder_tokens"],
            decoder_input_ids=batch["tokens"],
            labels=targets,
            output_router_logits=True,
        )
        aux = at_once.encoder_aux_loss + at_once.decoder_aux_loss
        torch.testing.assert_close(
            extra, BALANCE * aux + Z * (at_once.encoder_z_loss + at_once.decoder_z_loss)
        )
    assert float(extra) > 0.05 * float(wanted.detach())
    torch.testing.assert_close(total, wanted + extra, rtol=1e-6, atol=0)
    fell = sum(int(one.argmax(-1).numel()) for one in routers)
    dropped = sum(_dropped(one, 3) for one in routers)
    assert 0 < dropped < fell
    assert float(metrics["dropped_share"]) == pytest.approx(dropped / fell)

    total.backward()
    (wanted + extra).backward()
    gradients = {path: one.grad for path, one in named.items() if one.grad is not None}
    assert gradients.keys() == named.keys()
    there = {path: one.grad for path, one in model.named_parameters() if one.grad is not None}
    ref.compare_gradients("switch", gradients, there)


def _balance(logits_BSE: Tensor) -> Tensor:
    found: Tensor = theirs.load_balancing_loss_func(logits_BSE.softmax(-1), logits_BSE.argmax(-1))
    return found


def _dropped(logits_BSE: Tensor, capacity: int) -> int:
    """Tokens beyond the first so many of an expert in each sequence, counted one by one."""
    count = 0
    for row in logits_BSE.argmax(-1).tolist():
        count += sum(row[: i + 1].count(expert) > capacity for i, expert in enumerate(row))
    return count


def test_layers_with_experts_are_read_as_transformers_places_them() -> None:
    settings = {"num_layers": 12, "num_decoder_layers": 12, "d_model": 64, "num_heads": 4, "d_kv": 16}
    shape = settings | {"d_ff": 96, "num_experts": 4, "expert_capacity": 9}
    sparse = {"num_sparse_encoder_layers": 6, "num_sparse_decoder_layers": 6}
    found = SWITCH.read(shape | sparse, "config.json")["experts"]
    assert (found.every, found.capacity, found.count) == (2, 9, 4)
    assert SWITCH.read(shape, "config.json")["experts"].every == 4
    with pytest.raises(InputError, match="experts in different layers"):
        SWITCH.read(shape | {"num_sparse_encoder_layers": 6}, "config.json")
