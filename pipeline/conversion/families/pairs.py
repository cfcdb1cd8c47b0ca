"""T5, the Switch Transformer, BART and Marian: an encoder and a decoder."""

import math
from dataclasses import replace
from typing import Any

from data_prep.contract.settings import InputError
from pipeline.config import Experts, ModelConfig
from pipeline.conversion.families.common import GELUS, ROBUST_BLOCK, TIED, within
from pipeline.conversion.family import Family, Key, Table, flag, whole


def _t5_stack(stack: str, mlp: int) -> Table:
    layer = f"{stack}.block.*.layer."
    found: Table = {
        f"{stack}.relative": f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias",
        f"{stack}.blocks.*.attention_norm": f"{layer}0.layer_norm",
        f"{stack}.blocks.*.attention.qkv": tuple(f"{layer}0.SelfAttention.{one}" for one in "qkv"),
        f"{stack}.blocks.*.attention.output": f"{layer}0.SelfAttention.o",
        f"{stack}.blocks.*.mlp_norm": f"{layer}{mlp}.layer_norm",
        f"{stack}.blocks.*.mlp.down": f"{layer}{mlp}.DenseReluDense.wo",
        f"{stack}.norm": f"{stack}.final_layer_norm",
    }
    return found


T5_PLAIN: Table = {
    "words.table": "shared",
    "head.table": "lm_head",
    **_t5_stack("encoder", 1),
    **_t5_stack("decoder", 2),
    "decoder.blocks.*.cross_norm": "decoder.block.*.layer.1.layer_norm",
    "decoder.blocks.*.cross.query": "decoder.block.*.layer.1.EncDecAttention.q",
    "decoder.blocks.*.cross.key_value": (
        "decoder.block.*.layer.1.EncDecAttention.k",
        "decoder.block.*.layer.1.EncDecAttention.v",
    ),
    "decoder.blocks.*.cross.output": "decoder.block.*.layer.1.EncDecAttention.o",
}


def t5_table(model: ModelConfig) -> Table:
    """T5 1.0 has one matrix where 1.1 has two; an output that is tied but not scaled is written out, since
    transformers takes scaled and tied for the same thing."""
    table = dict(T5_PLAIN)
    for stack, mlp in (("encoder", 1), ("decoder", 2)):
        inner = f"{stack}.block.*.layer.{mlp}.DenseReluDense.wi"
        table[f"{stack}.blocks.*.mlp.up"] = (f"{inner}_0", f"{inner}_1") if model.gated else inner
    if model.tied_output and model.logit_scale == 1.0:
        table["words.table"] = ("shared", "lm_head")
    return table


T5 = Family(
    model_type="t5",
    classes=("T5ForConditionalGeneration",),
    base="",
    table=t5_table,
    keys=(
        Key("layers", "num_decoder_layers", None),
        Key("encoder_layers", "num_layers"),
        Key("hidden_size", "d_model"),
        Key("heads", "num_heads"),
        Key("head_size", "d_kv"),
        Key("feed_forward_size", "d_ff"),
        Key(
            "activation",
            "feed_forward_proj",
            "relu",
            {"relu": "relu", "geglu": "gated-gelu", "swiglu": "gated-silu"},
        ),
        Key("norm_epsilon", "layer_norm_epsilon", 1e-6),
        Key("relative_buckets", "relative_attention_num_buckets", 32),
        Key("relative_distance", "relative_attention_max_distance", 128),
        Key("dropout", "dropout_rate", 0.1),
    ),
    ours={
        "architecture": "encoder_decoder",
        "norm": "rmsnorm",
        "positions": "relative",
        "bias": False,
        "scaled_attention": False,
    },
    theirs={"is_encoder_decoder": True},
    positions_key="n_positions",
    copies=(
        "*coder.embed_tokens.weight",
        "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.*",
    ),
    write_more=lambda ours: _write_t5(ours),
    read_more=lambda theirs, place: _read_t5(theirs, place),
)


def _write_t5(ours: dict[str, Any]) -> dict[str, Any]:
    scaled = ours["logit_scale"] != 1.0
    return {"tie_word_embeddings": scaled, "scale_decoder_outputs": scaled}


def _read_t5(theirs: dict[str, Any], place: str) -> dict[str, Any]:
    tied = flag(theirs, "tie_word_embeddings", True, place)
    scaled = flag(theirs, "scale_decoder_outputs", tied, place)
    found = {"tied_output": tied, "logit_scale": theirs["d_model"] ** -0.5 if scaled else 1.0}
    return found if theirs.get("num_decoder_layers") else found | {"layers": theirs["num_layers"]}


def switch_table(model: ModelConfig) -> Table:
    """T5 with one of two forms of an MLP, and a tensor for each expert.

    Where transformers takes words and output for untied, each stack has its own copy of the words there.
    """
    table: Table = {name: theirs for name, theirs in t5_table(model).items() if ".mlp." not in name}
    if not model.tied_output or model.logit_scale == 1.0:
        head = ("lm_head",) if model.tied_output else ()
        table["words.table"] = ("shared", "encoder.embed_tokens", "decoder.embed_tokens", *head)
    count = model.experts.count if model.experts else 0
    for stack, place in (("encoder", 1), ("decoder", 2)):
        ours, mlp = f"{stack}.blocks.*.mlp", f"{stack}.block.*.layer.{place}.mlp"
        experts = [f"{mlp}.experts.expert_{i}" for i in range(count)]
        table |= {f"{ours}.up": f"{mlp}.wi", f"{ours}.down": f"{mlp}.wo"}
        table |= {
            f"{ours}.router": f"{mlp}.router.classifier",
            f"{ours}.expert_up": tuple(f"{one}.wi" for one in experts),
            f"{ours}.expert_down": tuple(f"{one}.wo" for one in experts),
        }
    return table


def _written_sparsely(layers: list[bool]) -> int:
    """How many layers their configuration says are sparse, so that it means those that are; 0 where none
    does. It takes the second of every so many: all layers over that number."""
    every = len(layers)
    return next((count for count in range(1, every + 1) if sparse_layers(every, every // count) == layers), 0)


def sparse_layers(layers: int, step: int) -> list[bool]:
    """Which layers of a stack transformers gives experts."""
    return [step == 1 or (step > 1 and layer % step == 1) for layer in range(layers)]


def _write_switch(ours: dict[str, Any]) -> dict[str, Any]:
    experts = ours["experts"]
    if experts is None:
        raise InputError("a Switch Transformer has experts")
    encoder, decoder = (_written_sparsely(layers) for layers in experts["every"])
    return _write_t5(ours) | {
        "num_experts": experts["count"],
        "expert_capacity": experts["capacity"] or max(ours["max_positions"], 1),
        "num_sparse_encoder_layers": encoder,
        "num_sparse_decoder_layers": decoder,
        "num_selected_experts": experts["active"],
    }


def _read_switch(theirs: dict[str, Any], place: str) -> dict[str, Any]:
    found = _read_t5(theirs, place)
    layers = {"encoder": theirs["num_layers"], "decoder": found.get("layers") or theirs["num_decoder_layers"]}
    wanted = {
        stack: sparse_layers(count, count // (_sparse(theirs, stack, count, place) or 1))
        for stack, count in layers.items()
    }
    fitting = (
        every
        for every in range(1, max(layers.values()) + 1)
        if all(sparse_layers(count, every) == wanted[stack] for stack, count in layers.items())
    )
    every = next(fitting, None)
    if every is None:
        raise InputError(
            f"{place}: encoder and decoder have experts in different layers; one rule is supported"
        )
    experts = Experts(
        count=whole(place, "num_experts", theirs.get("num_experts", 8), 2, 8192),
        active=1,
        normalise=False,
        every=every,
        capacity=whole(place, "expert_capacity", theirs.get("expert_capacity", 64), 1, 1 << 31),
        balance=theirs.get("router_aux_loss_coef", 0.001),
        z=theirs.get("router_z_loss_coef", 0.001),
        jitter=theirs.get("router_jitter_noise", 0.01),
    )
    return found | {"experts": experts}


def _sparse(theirs: dict[str, Any], stack: str, layers: int, place: str) -> int:
    name = f"num_sparse_{stack}_layers"
    return whole(place, name, theirs.get(name, 3), 1, layers)


SWITCH = replace(
    T5,
    model_type="switch_transformers",
    classes=("SwitchTransformersForConditionalGeneration",),
    table=switch_table,
    keys=(
        *(key for key in T5.keys if key.ours != "activation"),
        Key("activation", "dense_act_fn", "relu", {**GELUS, "relu": "relu"}),
    ),
    theirs=T5.theirs
    | {"router_bias": False, "router_dtype": "float32", "router_ignore_padding_tokens": False}
    | {"num_selected_experts": 1},
    write_more=_write_switch,
    read_more=_read_switch,
)

BART_CROSS: Table = {
    "cross_norm": "encoder_attn_layer_norm",
    "cross.query": "encoder_attn.q_proj",
    "cross.key_value": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross.output": "encoder_attn.out_proj",
}


def _bart_stack(stack: str) -> Table:
    return {
        f"{stack}.positions": f"model.{stack}.embed_positions",
        f"{stack}.embedding_norm": f"model.{stack}.layernorm_embedding",
        **within(f"{stack}.blocks.*.", f"model.{stack}.layers.*.", ROBUST_BLOCK),
    }


BART_TABLE: Table = {
    "words.table": "model.shared",
    "head.table": "lm_head",
    **_bart_stack("encoder"),
    **_bart_stack("decoder"),
    **within("decoder.blocks.*.", "model.decoder.layers.*.", BART_CROSS),
}

BART = Family(
    model_type="bart",
    classes=("BartForConditionalGeneration",),
    base="model.",
    table=lambda model: BART_TABLE,
    keys=(
        Key("layers", "decoder_layers"),
        Key("encoder_layers", "encoder_layers"),
        Key("hidden_size", "d_model"),
        Key("heads", ("encoder_attention_heads", "decoder_attention_heads")),
        Key("feed_forward_size", ("encoder_ffn_dim", "decoder_ffn_dim")),
        Key("activation", "activation_function", "gelu", {**GELUS, "relu": "relu"}),
        Key("dropout", ("dropout", "attention_dropout"), 0.1),
        TIED,
    ),
    ours={"architecture": "encoder_decoder", "norm_placement": "post", "embedding_norm": True},
    theirs={"is_encoder_decoder": True, "scale_embedding": False, "normalize_before": False},
    position_offset=lambda facts: 2,
    copies=("model.*coder.embed_tokens.weight",),
    zeros=("final_logits_bias",),
)

MARIAN = replace(
    BART,
    model_type="marian",
    classes=("MarianMTModel",),
    table=lambda model: {name: theirs for name, theirs in BART_TABLE.items() if "embed" not in theirs},
    ours={"architecture": "encoder_decoder", "norm_placement": "post", "positions": "sinusoidal"},
    theirs={"is_encoder_decoder": True, "share_encoder_decoder_embeddings": True},
    position_offset=lambda facts: 0,
    copies=("model.*coder.embed_tokens.weight", "model.*coder.embed_positions.weight"),
    write_more=lambda ours: {
        "scale_embedding": ours["embedding_scale"] != 1.0,
        "decoder_vocab_size": None,
        "forced_eos_token_id": None,
    },
    read_more=lambda theirs, place: {
        "embedding_scale": (
            math.sqrt(theirs["d_model"]) if flag(theirs, "scale_embedding", False, place) else 1.0
        )
    },
)
"""The Transformer of 2017 as transformers has it."""
