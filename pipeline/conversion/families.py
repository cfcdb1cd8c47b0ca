"""The families that can be exported and imported, each by its tables."""

from typing import Any

from data_prep.contract.settings import InputError
from pipeline.conversion.family import Family, Key, Table
from pipeline.models.config import ModelConfig

GELUS = {"gelu_tanh": "gelu_new", "gelu": "gelu"}
TIED = Key("tied_output", "tie_word_embeddings", True)

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

ROBUST_BLOCK: Table = {
    "attention_norm": "self_attn_layer_norm",
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.output": "self_attn.out_proj",
    "mlp_norm": "final_layer_norm",
    "mlp.up": "fc1",
    "mlp.down": "fc2",
}
"""A layer of fairseq's, which OPT and BART have."""


def within(ours: str, theirs: str, table: Table) -> Table:
    """The same table of modules that lie in others."""
    found: Table = {}
    for name, names in table.items():
        if isinstance(names, str):
            found[ours + name] = theirs + names
        else:
            found[ours + name] = tuple(theirs + one for one in names)
    return found


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
        Key("activation", "activation_function", "relu", {"relu": "relu"}),
        Key("norm_placement", "do_layer_norm_before", "pre", {"pre": True, "post": False}),
        Key("bias", "enable_bias", True),
        Key("dropout", ("dropout", "attention_dropout"), 0.1),
        TIED,
    ),
    ours={"activation": "relu"},
    theirs={"_remove_final_layer_norm": False, "layer_norm_elementwise_affine": True, "layerdrop": 0.0},
    position_offset=lambda facts: 2,
    write_more=lambda ours: {"word_embed_proj_dim": ours["word_size"] or ours["hidden_size"]},
    read_more=lambda theirs: {"word_size": _narrower(theirs)},
)


def _narrower(theirs: dict[str, Any]) -> int | None:
    width: int | None = theirs.get("word_embed_proj_dim")
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
    groups, two = ours["query_groups"], ours["parallel_block"] == "two_norms"
    newer = two or groups not in (1, ours["heads"])
    return {
        "new_decoder_architecture": newer,
        "multi_query": groups == 1,
        "num_ln_in_parallel_attn": (2 if two else 1) if newer else None,
        "parallel_attn": ours["parallel_block"] != "none",
    }


def _read_falcon(theirs: dict[str, Any]) -> dict[str, Any]:
    newer, heads = theirs.get("new_decoder_architecture", False), theirs["num_attention_heads"]
    parallel = newer or theirs.get("parallel_attn", True)
    two = newer and (theirs.get("num_ln_in_parallel_attn") or 2) == 2
    groups = (theirs.get("num_kv_heads") or heads) if newer else 1
    if not newer and not theirs.get("multi_query", True):
        groups = heads
    return {
        "query_groups": groups,
        "parallel_block": "two_norms" if two else "one_norm" if parallel else "none",
        "rope_base": rope_base(theirs),
    }


def rope_base(theirs: dict[str, Any]) -> float:
    """The base of rotary angles, which newer configurations keep in a section of its own."""
    section = theirs.get("rope_parameters") or theirs.get("rope_scaling") or {}
    kind = section.get("rope_type", section.get("type", "default"))
    if kind != "default" or section.get("partial_rotary_factor", 1.0) != 1.0:
        raise InputError(f"config.json: rotary positions of type {kind} are not supported; default is")
    return float(section.get("rope_theta") or theirs.get("rope_theta") or 10_000.0)


def write_rope(ours: dict[str, Any]) -> dict[str, Any]:
    """The base of rotary angles where older and newer versions of transformers look for it."""
    base = ours["rope_base"]
    return {"rope_theta": base, "rope_parameters": {"rope_type": "default", "rope_theta": base}}


FALCON = Family(
    model_type="falcon",
    classes=("FalconForCausalLM",),
    base="transformer.",
    table=falcon_table,
    keys=(
        Key("layers", "num_hidden_layers"),
        Key("hidden_size", "hidden_size"),
        Key("heads", "num_attention_heads"),
        Key("query_groups", "num_kv_heads", None),
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

LLAMA = Family(
    model_type="llama",
    classes=("LlamaForCausalLM",),
    base="model.",
    table=lambda model: LLAMA_TABLE,
    keys=(
        Key("layers", "num_hidden_layers"),
        Key("hidden_size", "hidden_size"),
        Key("heads", "num_attention_heads"),
        Key("head_size", "head_dim", None),
        Key("query_groups", "num_key_value_heads", None),
        Key("feed_forward_size", "intermediate_size"),
        Key("activation", "hidden_act", "swiglu", {"swiglu": "silu", "geglu": "gelu_pytorch_tanh"}),
        Key("norm_epsilon", "rms_norm_eps", 1e-6),
        Key("bias", ("attention_bias", "mlp_bias"), False),
        Key("dropout", "attention_dropout", 0.0),
        TIED._replace(default=False),
    ),
    ours={"positions": "rope", "norm": "rmsnorm"},
    copies=("model.layers.*.self_attn.rotary_emb.inv_freq",),
    write_more=write_rope,
    read_more=lambda theirs: {"rope_base": rope_base(theirs)},
)

BERT_BLOCK: Table = {
    "attention.qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "mlp.up": "intermediate.dense",
    "mlp.down": "output.dense",
    "mlp_norm": "output.LayerNorm",
}


def _bert_body(prefix: str) -> Table:
    return {
        "words.table": f"{prefix}embeddings.word_embeddings",
        "positions": f"{prefix}embeddings.position_embeddings",
        "types": f"{prefix}embeddings.token_type_embeddings",
        "embedding_norm": f"{prefix}embeddings.LayerNorm",
        **within("blocks.*.", f"{prefix}encoder.layer.*.", BERT_BLOCK),
    }


BERT_TABLE: Table = _bert_body("bert.") | {
    "masked_head.dense": "cls.predictions.transform.dense",
    "masked_head.norm": "cls.predictions.transform.LayerNorm",
    "masked_head": "cls.predictions",
    "head.table": "cls.predictions.decoder",
    "next_sentence.pool": "bert.pooler.dense",
    "next_sentence.classify": "cls.seq_relationship",
}
ROBERTA_TABLE: Table = _bert_body("roberta.") | {
    "masked_head.dense": "lm_head.dense",
    "masked_head.norm": "lm_head.layer_norm",
    "masked_head": "lm_head",
    "head.table": "lm_head.decoder",
}
BERT_KEYS = (
    Key("layers", "num_hidden_layers"),
    Key("hidden_size", "hidden_size"),
    Key("heads", "num_attention_heads"),
    Key("feed_forward_size", "intermediate_size"),
    Key("activation", "hidden_act", "gelu", {**GELUS, "relu": "relu"}),
    Key("norm_epsilon", "layer_norm_eps", 1e-12),
    Key("dropout", ("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.1),
    TIED,
)
BERT_VALUES = {"architecture": "encoder", "norm_placement": "post", "embedding_norm": True}
BERT_NEEDS = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}

BERT = Family(
    model_type="bert",
    classes=("BertForMaskedLM", "BertForPreTraining"),
    base="bert.",
    table=lambda model: BERT_TABLE,
    keys=(*BERT_KEYS, Key("token_types", "type_vocab_size", 2)),
    ours=BERT_VALUES,
    theirs=BERT_NEEDS,
    copies=("bert.embeddings.position_ids", "cls.predictions.decoder.bias", "bert.pooler.dense.*"),
)

ROBERTA = Family(
    model_type="roberta",
    classes=("RobertaForMaskedLM",),
    base="roberta.",
    table=lambda model: ROBERTA_TABLE,
    keys=BERT_KEYS,
    ours=BERT_VALUES | {"token_types": 1},
    theirs=BERT_NEEDS | {"type_vocab_size": 1},
    position_offset=lambda facts: (facts.pad or 0) + 1,
    offset_counted=True,
    copies=("roberta.embeddings.position_ids", "lm_head.decoder.bias", "roberta.pooler.dense.*"),
)


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
    read_more=lambda theirs: _read_t5(theirs),
)


def _write_t5(ours: dict[str, Any]) -> dict[str, Any]:
    scaled = ours["logit_scale"] != 1.0
    return {"tie_word_embeddings": scaled, "scale_decoder_outputs": scaled}


def _read_t5(theirs: dict[str, Any]) -> dict[str, Any]:
    tied = theirs.get("tie_word_embeddings", True)
    scaled = theirs.get("scale_decoder_outputs", tied)
    found = {"tied_output": tied, "logit_scale": theirs["d_model"] ** -0.5 if scaled else 1.0}
    return found if theirs.get("num_decoder_layers") else found | {"layers": theirs["num_layers"]}


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

FAMILIES = (GPT2, OPT, BLOOM, FALCON, LLAMA, ROBERTA, BERT, T5, BART)
