"""The models equal transformers' on the same weights: logits and gradients, float32.

Logits agree within 1e-5 of their largest value and gradients within 1e-4 of each parameter's largest: both
sides add the same products in other orders, an ulp of float32 being 6e-8.
"""

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from pipeline.config import DataConfig, ModelConfig, PipelineConfig
from pipeline.models.build import model_layers
from pipeline.models.initialize import initialize
from pipeline.parallel import world
from pipeline.parallel.stack import Stack
from pipeline.training.loss import weighted_cross_entropy

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


def split_qkv(fused: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys, values from rows that lie group by group."""
    size = HIDDEN // HEADS
    grouped = fused.view(groups, HEADS // groups + 2, size, *fused.shape[1:])
    parts = grouped[:, :-2], grouped[:, -2], grouped[:, -1]
    q, k, v = (part.reshape(-1, *fused.shape[1:]) for part in parts)
    return q, k, v


def gpt2_names(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters as transformers' GPT-2 has them: its linear layers are stored transposed."""
    found = {"wte.weight": named["words.table.weight"], "wpe.weight": named["positions.weight"]}
    for i in range(LAYERS):
        here, there = f"blocks.{i}.", f"h.{i}."
        for ours_name, name in (("attention_norm", "ln_1"), ("mlp_norm", "ln_2")):
            for kind in ("weight", "bias"):
                found[f"{there}{name}.{kind}"] = named[f"{here}{ours_name}.{kind}"]
        pairs = (("attention.output", "attn.c_proj"), ("mlp.up", "mlp.c_fc"), ("mlp.down", "mlp.c_proj"))
        for ours_name, name in pairs:
            found[f"{there}{name}.weight"] = named[f"{here}{ours_name}.weight"].t()
            found[f"{there}{name}.bias"] = named[f"{here}{ours_name}.bias"]
        weight = torch.cat(split_qkv(named[f"{here}attention.qkv.weight"], HEADS))
        found[f"{there}attn.c_attn.weight"] = weight.t()
        found[f"{there}attn.c_attn.bias"] = torch.cat(split_qkv(named[f"{here}attention.qkv.bias"], HEADS))
    found |= {f"ln_f.{kind}": named[f"norm.{kind}"] for kind in ("weight", "bias")}
    return {f"transformer.{name}": value for name, value in found.items()}


def llama_names(named: dict[str, Tensor], groups: int) -> dict[str, Tensor]:
    """Our parameters as transformers' Llama has them."""
    found = {
        "model.embed_tokens.weight": named["words.table.weight"],
        "model.norm.weight": named["norm.weight"],
        "lm_head.weight": named["head.table.weight"],
    }
    for i in range(LAYERS):
        here, there = f"blocks.{i}.", f"model.layers.{i}."
        q, k, v = split_qkv(named[f"{here}attention.qkv.weight"], groups)
        gate, up = named[f"{here}mlp.up.weight"].chunk(2)
        layer = {
            "self_attn.q_proj": q,
            "self_attn.k_proj": k,
            "self_attn.v_proj": v,
            "self_attn.o_proj": named[f"{here}attention.output.weight"],
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": named[f"{here}mlp.down.weight"],
            "input_layernorm": named[f"{here}attention_norm.weight"],
            "post_attention_layernorm": named[f"{here}mlp_norm.weight"],
        }
        found |= {f"{there}{name}.weight": value for name, value in layer.items()}
    return found


def gpt2() -> tuple[Stack, dict[str, Tensor], Any, dict[str, Tensor]]:
    """Ours, its parameters, transformers' GPT-2, and ours under its names."""
    stack, named = ours()
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=LENGTH,
        n_embd=HIDDEN,
        n_layer=LAYERS,
        n_head=HEADS,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    return stack, named, transformers.GPT2LMHeadModel(config), gpt2_names(named)


def llama() -> tuple[Stack, dict[str, Tensor], Any, dict[str, Tensor]]:
    """The same with Llama: RMSNorm, SwiGLU, rotary positions, grouped queries, an untied head."""
    stack, named = ours(
        query_groups=2,
        norm="rmsnorm",
        activation="swiglu",
        positions="rope",
        bias=False,
        tied_output=False,
        feed_forward_size=96,
    )
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=96,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=2,
        rms_norm_eps=1e-5,
        max_position_embeddings=LENGTH,
    )
    return stack, named, transformers.LlamaForCausalLM(config), llama_names(named, 2)


@pytest.mark.parametrize("build", [gpt2, llama])
def test_logits_and_gradients_equal_transformers(build: Any) -> None:
    stack, named, reference, translated = build()
    missing, unexpected = reference.load_state_dict(translated, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    reference.tie_weights()
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(0, VOCABULARY, (BATCH, LENGTH), generator=generator)
    targets = torch.randint(0, VOCABULARY, (BATCH, LENGTH), generator=generator)

    logits_SBV = logits(stack, tokens=tokens)
    expected = reference(tokens).logits
    tolerance = 1e-5 * float(expected.detach().abs().max())
    torch.testing.assert_close(logits_SBV.transpose(0, 1), expected, rtol=0, atol=tolerance)

    weights = torch.full((BATCH, LENGTH), 1 / (BATCH * LENGTH))
    weighted_cross_entropy(logits_SBV, targets, weights).backward()
    torch.nn.functional.cross_entropy(expected.flatten(0, 1), targets.flatten()).backward()
    gradients = {name: parameter.grad for name, parameter in named.items()}
    renamed = gpt2_names(gradients) if build is gpt2 else llama_names(gradients, 2)
    theirs = dict(reference.named_parameters())
    for name, gradient in renamed.items():
        wanted = theirs[name].grad
        tolerance = 1e-4 * float(wanted.abs().max())
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=tolerance, msg=name)


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
