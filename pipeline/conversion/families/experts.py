"""Mixtral, OLMoE and Qwen3-MoE: decoders with experts."""

from dataclasses import replace
from typing import Any

from pipeline.config import Experts, ModelConfig
from pipeline.conversion.families.decoders import LLAMA_KEYS, LLAMA_TABLE, LLAMA_VALUES
from pipeline.conversion.families.llama_kin import HEAD_NORMS, KIN, QWEN3
from pipeline.conversion.families.rope import read_rope, write_rope
from pipeline.conversion.family import Key, Table, checked, flag, whole

MOST = 8192


def expert_table(model: ModelConfig, block: str, up: tuple[str, ...], down: str) -> Table:
    """Experts and their router in place of the MLP of `LLAMA_TABLE`; files have a tensor for each."""
    count = model.experts.count if model.experts else 0
    expert = f"model.layers.*.{block}.experts."
    return {name: one for name, one in LLAMA_TABLE.items() if ".mlp." not in name} | {
        "blocks.*.mlp.router": f"model.layers.*.{block}.gate",
        "blocks.*.mlp.expert_up": tuple(f"{expert}{i}.{one}" for i in range(count) for one in up),
        "blocks.*.mlp.expert_down": tuple(f"{expert}{i}.{down}" for i in range(count)),
    }


UP, DOWN = ("gate_proj", "up_proj"), "down_proj"


def _write(ours: dict[str, Any], count_key: str) -> dict[str, Any]:
    experts = ours["experts"] or {"count": 0, "active": 0, "normalise": True}
    return write_rope(ours) | {
        count_key: experts["count"],
        "num_experts_per_tok": experts["active"],
        "norm_topk_prob": experts["normalise"],
    }


def _read(theirs: dict[str, Any], place: str, key: str, usual: tuple[int, int, bool]) -> dict[str, Any]:
    count = whole(place, key, theirs.get(key, usual[0]), 2, MOST)
    active = whole(place, "num_experts_per_tok", theirs.get("num_experts_per_tok", usual[1]), 1, count)
    normalise = flag(theirs, "norm_topk_prob", usual[2], place)
    experts = Experts(count=count, active=active, normalise=normalise)
    return read_rope(theirs, place) | {"experts": experts}


def _read_mixtral(theirs: dict[str, Any], place: str) -> dict[str, Any]:
    window = theirs.get("sliding_window")
    local = None if window is None else checked(place, "sliding_window", window, "local_window")
    more = {"local_window": local, "layer_pattern": ("local",)}
    known = theirs | {"norm_topk_prob": True, "rope_theta": theirs.get("rope_theta", 1_000_000.0)}
    return _read(known, place, "num_local_experts", (8, 2, True)) | more


MIXTRAL = replace(
    KIN,
    model_type="mixtral",
    classes=("MixtralForCausalLM",),
    table=lambda model: expert_table(model, "block_sparse_moe", ("w1", "w3"), "w2"),
    keys=tuple(key._replace(default=1e-5) if key.ours == "norm_epsilon" else key for key in LLAMA_KEYS),
    write_more=lambda ours: (
        _write(ours, "num_local_experts") | {"sliding_window": ours["local_window"], "norm_topk_prob": True}
    ),
    read_more=_read_mixtral,
)

OLMOE = replace(
    KIN,
    model_type="olmoe",
    classes=("OlmoeForCausalLM",),
    table=lambda model: expert_table(model, "mlp", UP, DOWN) | HEAD_NORMS,
    keys=tuple(
        key._replace(default=1e-5) if key.ours == "norm_epsilon" else key
        for key in LLAMA_KEYS
        if key.ours != "head_size"
    ),
    ours=LLAMA_VALUES | {"bias": False, "qk_norm": "width"},
    theirs={"attention_bias": False, "clip_qkv": None},
    write_more=lambda ours: _write(ours, "num_experts"),
    read_more=lambda theirs, place: _read(theirs, place, "num_experts", (64, 8, False)),
)

QWEN3_MOE = replace(
    QWEN3,
    model_type="qwen3_moe",
    classes=("Qwen3MoeForCausalLM",),
    table=lambda model: expert_table(model, "mlp", UP, DOWN) | HEAD_NORMS,
    keys=(
        *(key for key in QWEN3.keys if key.ours != "feed_forward_size"),
        Key("feed_forward_size", "moe_intermediate_size", 768),
    ),
    theirs=QWEN3.theirs | {"decoder_sparse_step": 1, "mlp_only_layers": []},
    write_more=lambda ours: _write(ours, "num_experts"),
    read_more=lambda theirs, place: _read(theirs, place, "num_experts", (128, 8, False)),
)
