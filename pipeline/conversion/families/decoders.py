"""GPT-2, OPT, BLOOM, Falcon and Llama."""

from typing import Any

from pipeline.config import ModelConfig
from pipeline.conversion.families.common import GELUS, ROBUST_BLOCK, TIED, within
from pipeline.conversion.families.rope import read_rope, write_rope
from pipeline.conversion.family import Family, Key, Table, checked, flag

GPT2_TABLE: Table = {
    "words.table": "transformer.wte",
    "positions": "transformer.wpe",
    "blocks.*.attention_norm": "transformer.h.*.ln_1",
    "blocks.*.attention.qkv": "transformer.h.*.attn.c_attn",
    "blocks.*.attention.output": "transformer.h.*.attn.c_proj",
    "blocks.*.mlp_norm": "transformer.h.*.ln_2",
    "blocks.*.mlp.up": "transformer.h.*.mlp.c_fc",
    "blocks.*.mlp.down": "transformer.h.*.mlp.c_proj",
    "norm": "transformer.ln_f",
    "head.table": "lm_head",
}

GPT2 = Family(
    model_type="gpt2",
    classes=("GPT2LMHeadModel",),
    base="transformer.",
    table=lambda model: GPT2_TABLE,
    keys=(
        Key("layers", "n_layer"),
        Key("hidden_size", "n_embd"),
        Key("heads", "n_head"),
        Key("feed_forward_size", "n_inner", None),
        Key("activation", "activation_function", "gelu_tanh", GELUS),
        Key("norm_epsilon", "layer_norm_epsilon", 1e-5),
        Key("scaled_attention", "scale_attn_weights", True),
        Key("dropout", ("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.1),
        TIED,
    ),
    ours={},
    theirs={
        "add_cross_attention": False,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
    },
    fused="joined",
    transposed=True,
    positions_key="n_positions",
    copies=("transformer.h.*.attn.bias", "transformer.h.*.attn.masked_bias"),
)

OPT_TABLE: Table = {
    "words.table": "model.decoder.embed_tokens",
    "positions": "model.decoder.embed_positions",
    "project_in": "model.decoder.project_in",
    **within("blocks.*.", "model.decoder.layers.*.", ROBUST_BLOCK),
    "norm": "model.decoder.final_layer_norm",
    "project_out": "model.decoder.project_out",
    "head.table": "lm_head",
}

OPT = Family(
    model_type="opt",
    classes=("OPTForCausalLM",),
    base="model.",
    table=lambda model: OPT_TABLE,
    keys=(
        Key("layers", "num_hidden_layers"),
        Key("hidden_size", "hidden_size"),
        Key("heads", "num_attention_heads"),
        Key("feed_forward_size", "ffn_dim"),
        Key("activation", "activation_function", "relu", {"relu": "relu", **GELUS}),
        Key("norm_placement", "do_layer_norm_before", "pre", {"pre": True, "post": False}),
        Key("bias", "enable_bias", True),
        Key("dropout", ("dropout", "attention_dropout"), 0.1),
        TIED,
    ),
    ours={},
    theirs={"_remove_final_layer_norm": False, "layer_norm_elementwise_affine": True, "layerdrop": 0.0},
    position_offset=lambda facts: 2,
    write_more=lambda ours: {"word_embed_proj_dim": ours["word_size"] or ours["hidden_size"]},
    read_more=lambda theirs, place: {"word_size": _narrower(theirs, place)},
)


def _narrower(theirs: dict[str, Any], place: str) -> int | None:
    name = "word_embed_proj_dim"
    width: int | None = checked(place, name, theirs.get(name), "word_size")
    return width if width != theirs["hidden_size"] else None


BLOOM_TABLE: Table = {
    "words.table": "transformer.word_embeddings",
    "embedding_norm": "transformer.word_embeddings_layernorm",
    "blocks.*.attention_norm": "transformer.h.*.input_layernorm",
    "blocks.*.attention.qkv": "transformer.h.*.self_attention.query_key_value",
    "blocks.*.attention.output": "transformer.h.*.self_attention.dense",
    "blocks.*.mlp_norm": "transformer.h.*.post_attention_layernorm",
    "blocks.*.mlp.up": "transformer.h.*.mlp.dense_h_to_4h",
    "blocks.*.mlp.down": "transformer.h.*.mlp.dense_4h_to_h",
    "norm": "transformer.ln_f",
    "head.table": "lm_head",
}

BLOOM = Family(
    model_type="bloom",
    classes=("BloomForCausalLM",),
    base="transformer.",
    table=lambda model: BLOOM_TABLE,
    keys=(
        Key("layers", ("n_layer", "num_hidden_layers")),
        Key("hidden_size", ("hidden_size", "n_embed")),
        Key("heads", ("n_head", "num_attention_heads")),
        Key("norm_epsilon", "layer_norm_epsilon", 1e-5),
        Key("dropout", ("hidden_dropout", "attention_dropout"), 0.0),
        TIED,
    ),
    ours={"positions": "alibi", "embedding_norm": True},
    theirs={"apply_residual_connection_post_layernorm": False},
    fused="grouped",
    positions_key="seq_length",
)


def falcon_table(model: ModelConfig) -> Table:
    """Falcon calls BLOOM's modules as BLOOM does, but for the norms in front of a layer."""
    table = {name: names for name, names in BLOOM_TABLE.items() if name != "embedding_norm"}
    if model.parallel_block == "two_norms":
        table["blocks.*.attention_norm"] = "transformer.h.*.ln_attn"
        table["blocks.*.mlp_norm"] = "transformer.h.*.ln_mlp"
    return table


def _write_falcon(ours: dict[str, Any]) -> dict[str, Any]:
    groups, two = ours["key_value_heads"], ours["parallel_block"] == "two_norms"
    newer = two or groups not in (1, ours["heads"])
    return {
        "new_decoder_architecture": newer,
        "multi_query": groups == 1,
        "num_ln_in_parallel_attn": (2 if two else 1) if newer else None,
        "parallel_attn": ours["parallel_block"] != "none",
    }


def _read_falcon(theirs: dict[str, Any], place: str) -> dict[str, Any]:
    newer, heads = flag(theirs, "new_decoder_architecture", False, place), theirs["num_attention_heads"]
    parallel = newer or flag(theirs, "parallel_attn", True, place)
    two = newer and (theirs.get("num_ln_in_parallel_attn") or 2) == 2
    groups = (theirs.get("num_kv_heads") or heads) if newer else 1
    if not newer and not flag(theirs, "multi_query", True, place):
        groups = heads
    return {
        "key_value_heads": groups,
        "parallel_block": "two_norms" if two else "one_norm" if parallel else "none",
        **read_rope(theirs, place),
    }


FALCON = Family(
    model_type="falcon",
    classes=("FalconForCausalLM",),
    base="transformer.",
    table=falcon_table,
    keys=(
        Key("layers", "num_hidden_layers"),
        Key("hidden_size", "hidden_size"),
        Key("heads", "num_attention_heads"),
        Key("key_value_heads", "num_kv_heads", None),
        Key("feed_forward_size", "ffn_hidden_size", None),
        Key("activation", "activation", "gelu", {**GELUS, "relu": "relu"}),
        Key("norm_epsilon", "layer_norm_epsilon", 1e-5),
        Key("bias", "bias", False),
        Key("dropout", ("hidden_dropout", "attention_dropout"), 0.0),
        TIED,
    ),
    ours={"positions": "rope"},
    theirs={"alibi": False},
    fused="grouped",
    write_more=lambda ours: write_rope(ours) | _write_falcon(ours),
    read_more=_read_falcon,
)

LLAMA_TABLE: Table = {
    "words.table": "model.embed_tokens",
    "blocks.*.attention_norm": "model.layers.*.input_layernorm",
    "blocks.*.attention.qkv": (
        "model.layers.*.self_attn.q_proj",
        "model.layers.*.self_attn.k_proj",
        "model.layers.*.self_attn.v_proj",
    ),
    "blocks.*.attention.output": "model.layers.*.self_attn.o_proj",
    "blocks.*.mlp_norm": "model.layers.*.post_attention_layernorm",
    "blocks.*.mlp.up": ("model.layers.*.mlp.gate_proj", "model.layers.*.mlp.up_proj"),
    "blocks.*.mlp.down": "model.layers.*.mlp.down_proj",
    "norm": "model.norm",
    "head.table": "lm_head",
}

LLAMA_KEYS = (
    Key("layers", "num_hidden_layers"),
    Key("hidden_size", "hidden_size"),
    Key("heads", "num_attention_heads"),
    Key("head_size", "head_dim", None),
    Key("key_value_heads", "num_key_value_heads", None),
    Key("feed_forward_size", "intermediate_size"),
    Key("activation", "hidden_act", "swiglu", {"swiglu": "silu", "geglu": "gelu_pytorch_tanh"}),
    Key("norm_epsilon", "rms_norm_eps", 1e-6),
    Key("dropout", "attention_dropout", 0.0),
    TIED._replace(default=False),
)
LLAMA_VALUES = {"positions": "rope", "norm": "rmsnorm"}
COMPUTED = ("model.layers.*.self_attn.rotary_emb.inv_freq",)

LLAMA = Family(
    model_type="llama",
    classes=("LlamaForCausalLM",),
    base="model.",
    table=lambda model: LLAMA_TABLE,
    keys=(*LLAMA_KEYS, Key("bias", ("attention_bias", "mlp_bias"), False)),
    ours=LLAMA_VALUES,
    copies=COMPUTED,
    write_more=write_rope,
    read_more=read_rope,
)
