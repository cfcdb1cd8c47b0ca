"""Mistral, Qwen 2 and 3, OLMo 2 and SmolLM3: Llama with a change or two."""

from dataclasses import replace
from typing import Any

from data_prep.contract.settings import InputError
from pipeline.conversion.families.decoders import COMPUTED, LLAMA, LLAMA_KEYS, LLAMA_TABLE, LLAMA_VALUES
from pipeline.conversion.families.rope import read_rope, write_rope
from pipeline.conversion.family import Key, Table, checked, shown

KIN = replace(LLAMA, keys=LLAMA_KEYS, ours=LLAMA_VALUES | {"bias": False}, copies=COMPUTED)
HEAD_NORMS: Table = {
    "blocks.*.attention.query_norm": "model.layers.*.self_attn.q_norm",
    "blocks.*.attention.key_norm": "model.layers.*.self_attn.k_norm",
}


def _window(theirs: dict[str, Any], place: str) -> int | None:
    """A window that is null is none, and one that is left out is what Mistral began with."""
    window = theirs.get("sliding_window", 4096)
    found: int | None = None if window is None else checked(place, "sliding_window", window, "local_window")
    return found


MISTRAL = replace(
    KIN,
    model_type="mistral",
    classes=("MistralForCausalLM",),
    write_more=lambda ours: write_rope(ours) | {"sliding_window": ours["local_window"]},
    read_more=lambda theirs, place: (
        read_rope(theirs, place) | {"local_window": _window(theirs, place), "layer_pattern": ("local",)}
    ),
)

QWEN2 = replace(
    KIN,
    model_type="qwen2",
    classes=("Qwen2ForCausalLM",),
    ours=LLAMA_VALUES | {"bias": False, "qkv_bias": True},
    theirs={"use_sliding_window": False},
)

QWEN3 = replace(
    KIN,
    model_type="qwen3",
    classes=("Qwen3ForCausalLM",),
    table=lambda model: LLAMA_TABLE | HEAD_NORMS,
    keys=tuple(key._replace(default=128) if key.ours == "head_size" else key for key in LLAMA_KEYS),
    ours=LLAMA_VALUES | {"bias": False, "qk_norm": "head"},
    theirs={"use_sliding_window": False, "attention_bias": False},
)

OLMO2_TABLE: Table = (
    LLAMA_TABLE
    | HEAD_NORMS
    | {
        "blocks.*.attention_norm": "model.layers.*.post_attention_layernorm",
        "blocks.*.mlp_norm": "model.layers.*.post_feedforward_layernorm",
    }
)

OLMO2 = replace(
    KIN,
    model_type="olmo2",
    classes=("Olmo2ForCausalLM",),
    table=lambda model: OLMO2_TABLE,
    keys=tuple(
        key._replace(default=1e-5) if key.ours == "norm_epsilon" else key
        for key in LLAMA_KEYS
        if key.ours != "head_size"
    ),
    ours=LLAMA_VALUES | {"bias": False, "qk_norm": "width", "norm_placement": "branch"},
    theirs={"attention_bias": False},
)


def _write_smollm3(ours: dict[str, Any]) -> dict[str, Any]:
    return write_rope(ours) | {"no_rope_layers": [int(rotated) for rotated in ours["unrotated_every"]]}


def _read_smollm3(theirs: dict[str, Any], place: str) -> dict[str, Any]:
    every, layers = theirs.get("no_rope_layer_interval", 4), theirs["num_hidden_layers"]
    rotated = theirs.get("no_rope_layers")
    if rotated is not None:
        every = rotated.index(0) + 1 if isinstance(rotated, list) and 0 in rotated else None
        wanted = [int(every is None or (layer + 1) % every != 0) for layer in range(layers)]
        if rotated != wanted:
            raise InputError(
                f"{place}: no_rope_layers is {shown(rotated)}; zeros at every so manieth layer are expected"
            )
    found = None if every is None else checked(place, "no_rope_layer_interval", every, "unrotated_every")
    return read_rope({"rope_theta": 2_000_000.0} | theirs, place) | {"unrotated_every": found}


SMOLLM3 = replace(
    KIN,
    model_type="smollm3",
    classes=("SmolLM3ForCausalLM",),
    keys=(
        *(key for key in LLAMA_KEYS if key.ours not in ("head_size", "tied_output")),
        Key("tied_output", "tie_word_embeddings", True),
        Key("bias", ("attention_bias", "mlp_bias"), False),
    ),
    ours=LLAMA_VALUES,
    theirs={"use_sliding_window": False},
    write_more=_write_smollm3,
    read_more=_read_smollm3,
)
