"""Gemma 2 and 3, the parts that read text."""

import math
from dataclasses import replace
from typing import Any

from pipeline.conversion.families.decoders import LLAMA, LLAMA_KEYS, LLAMA_TABLE, LLAMA_VALUES
from pipeline.conversion.families.llama_kin import HEAD_NORMS
from pipeline.conversion.families.rope import (
    positive,
    read_rope,
    read_two_ropes,
    write_rope,
    write_two_ropes,
)
from pipeline.conversion.families.windows import read_pattern, write_types
from pipeline.conversion.family import Key, Table, checked

LAYER = "model.layers.*."
GEMMA_TABLE: Table = LLAMA_TABLE | {
    "blocks.*.attention_out_norm": f"{LAYER}post_attention_layernorm",
    "blocks.*.mlp_norm": f"{LAYER}pre_feedforward_layernorm",
    "blocks.*.mlp_out_norm": f"{LAYER}post_feedforward_layernorm",
}
GEMMA_VALUES = LLAMA_VALUES | {"bias": False, "norm_offset": True, "norm_placement": "both"}
ROPE_KEYS, ROPE_BASES = ("rope_theta", "rope_local_base_freq"), (1_000_000.0, 10_000.0)


def _write(ours: dict[str, Any]) -> dict[str, Any]:
    scalar = ours["attention_scalar"]
    return {
        "query_pre_attn_scalar": int(scalar) if scalar == int(scalar) else scalar,
        "attn_logit_softcapping": ours["attention_softcap"],
        "final_logit_softcapping": ours["logit_softcap"],
        "sliding_window": ours["local_window"] or 4096,
        "layer_types": write_types(ours),
    }


def _read(theirs: dict[str, Any], place: str, caps: tuple[float | None, float | None]) -> dict[str, Any]:
    """What is left out is what their classes have; `caps` are those of attention and logits."""
    found: dict[str, Any] = {"embedding_scale": math.sqrt(theirs["hidden_size"])}
    names = ("attn_logit_softcapping", "final_logit_softcapping")
    for ours, name, cap in zip(("attention_softcap", "logit_softcap"), names, caps, strict=True):
        value = theirs.get(name, cap)
        found[ours] = None if value is None else positive(place, name, value)
    scalar = theirs.get("query_pre_attn_scalar", 256)
    found["attention_scalar"] = positive(place, "query_pre_attn_scalar", scalar)
    window = theirs.get("sliding_window") or 4096
    return found | {"local_window": checked(place, "sliding_window", window, "local_window")}


def _read_gemma2(theirs: dict[str, Any], place: str) -> dict[str, Any]:
    pattern = read_pattern(theirs, ("local", "global"), place)
    return _read(theirs, place, (50.0, 30.0)) | read_rope(theirs, place) | {"layer_pattern": pattern}


def _read_gemma3(theirs: dict[str, Any], place: str) -> dict[str, Any]:
    every = checked(place, "sliding_window_pattern", theirs.get("sliding_window_pattern", 6), "layers")
    pattern = read_pattern(theirs, ("local",) * (every - 1) + ("global",), place)
    ropes = read_two_ropes(theirs, place, ROPE_KEYS, ROPE_BASES)
    return _read(theirs, place, (None, None)) | ropes | {"layer_pattern": pattern}


GEMMA2 = replace(
    LLAMA,
    model_type="gemma2",
    classes=("Gemma2ForCausalLM",),
    table=lambda model: GEMMA_TABLE,
    keys=(
        *(key for key in LLAMA_KEYS if key.ours not in ("head_size", "activation", "tied_output")),
        Key("head_size", "head_dim", 256),
        Key("activation", "hidden_activation", "geglu", {"geglu": "gelu_pytorch_tanh"}),
        Key("tied_output", "tie_word_embeddings", True),
    ),
    ours=GEMMA_VALUES,
    theirs={"attention_bias": False, "use_bidirectional_attention": None},
    write_more=lambda ours: write_rope(ours) | _write(ours),
    read_more=_read_gemma2,
)

GEMMA3 = replace(
    GEMMA2,
    model_type="gemma3_text",
    classes=("Gemma3ForCausalLM",),
    table=lambda model: GEMMA_TABLE | HEAD_NORMS,
    ours=GEMMA_VALUES | {"qk_norm": "head"},
    theirs={"attention_bias": False, "use_bidirectional_attention": False},
    write_more=lambda ours: write_two_ropes(ours, ROPE_KEYS) | _write(ours),
    read_more=_read_gemma3,
)
