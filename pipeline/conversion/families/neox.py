"""GPT-NeoX and Pythia."""

from typing import Any

from pipeline.conversion.families.common import GELUS, TIED
from pipeline.conversion.families.rope import positive, read_rope, write_rope
from pipeline.conversion.family import Family, Key, Table

NEOX_TABLE: Table = {
    "words.table": "gpt_neox.embed_in",
    "blocks.*.attention_norm": "gpt_neox.layers.*.input_layernorm",
    "blocks.*.attention.qkv": "gpt_neox.layers.*.attention.query_key_value",
    "blocks.*.attention.output": "gpt_neox.layers.*.attention.dense",
    "blocks.*.mlp_norm": "gpt_neox.layers.*.post_attention_layernorm",
    "blocks.*.mlp.up": "gpt_neox.layers.*.mlp.dense_h_to_4h",
    "blocks.*.mlp.down": "gpt_neox.layers.*.mlp.dense_4h_to_h",
    "norm": "gpt_neox.final_layer_norm",
    "head.table": "embed_out",
}


def _write(ours: dict[str, Any]) -> dict[str, Any]:
    rope, share = write_rope(ours), ours["rope_share"]
    rope["rope_parameters"]["partial_rotary_factor"] = share
    return rope | {"rotary_pct": share, "rotary_emb_base": ours["rope_base"]}


def _read(theirs: dict[str, Any], place: str) -> dict[str, Any]:
    section = theirs.get("rope_parameters") or {}
    share = positive(
        place, "rotary_pct", section.get("partial_rotary_factor", theirs.get("rotary_pct", 0.25))
    )
    plain = theirs | {
        "rope_parameters": {key: one for key, one in section.items() if key != "partial_rotary_factor"},
        "partial_rotary_factor": None,
    }
    return read_rope(plain, place, base_key="rotary_emb_base") | {"rope_share": share}


NEOX = Family(
    model_type="gpt_neox",
    classes=("GPTNeoXForCausalLM",),
    base="gpt_neox.",
    outside=("embed_out.",),
    also=(("lm_head.", "embed_out."),),
    table=lambda model: NEOX_TABLE,
    keys=(
        Key("layers", "num_hidden_layers"),
        Key("hidden_size", "hidden_size"),
        Key("heads", "num_attention_heads"),
        Key("feed_forward_size", "intermediate_size"),
        Key("activation", "hidden_act", "gelu", {**GELUS, "relu": "relu"}),
        Key("norm_epsilon", "layer_norm_eps", 1e-5),
        Key("parallel_block", "use_parallel_residual", "two_norms", {"two_norms": True, "none": False}),
        Key("dropout", ("hidden_dropout", "attention_dropout"), 0.0),
        TIED._replace(default=False),
    ),
    ours={"positions": "rope"},
    theirs={"attention_bias": True},
    fused="grouped",
    copies=(
        "gpt_neox.layers.*.attention.bias",
        "gpt_neox.layers.*.attention.masked_bias",
        "gpt_neox.layers.*.attention.rotary_emb.inv_freq",
    ),
    write_more=_write,
    read_more=_read,
)
