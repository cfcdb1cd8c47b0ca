"""ModernBERT."""

from typing import Any

from pipeline.conversion.families.common import TIED
from pipeline.conversion.families.rope import read_two_ropes, write_two_ropes
from pipeline.conversion.families.windows import read_pattern, write_types
from pipeline.conversion.family import Family, Key, Table, checked

MODERNBERT_TABLE: Table = {
    "words.table": "model.embeddings.tok_embeddings",
    "embedding_norm": "model.embeddings.norm",
    "blocks.*.attention_norm": "model.layers.*.attn_norm",
    "blocks.*.attention.qkv": "model.layers.*.attn.Wqkv",
    "blocks.*.attention.output": "model.layers.*.attn.Wo",
    "blocks.*.mlp_norm": "model.layers.*.mlp_norm",
    "blocks.*.mlp.up": "model.layers.*.mlp.Wi",
    "blocks.*.mlp.down": "model.layers.*.mlp.Wo",
    "norm": "model.final_norm",
    "masked_head.dense": "head.dense",
    "masked_head.norm": "head.norm",
    "masked_head": "decoder",
    "head.table": "decoder",
}
ROPE_KEYS, ROPE_BASES = ("global_rope_theta", "local_rope_theta"), (160_000.0, 10_000.0)


def _write(ours: dict[str, Any]) -> dict[str, Any]:
    types = {"layer_types": write_types(ours), "local_attention": ours["local_window"] or 128}
    return write_two_ropes(ours, ROPE_KEYS) | types


def _read(theirs: dict[str, Any], place: str) -> dict[str, Any]:
    name = "global_attn_every_n_layers"
    every = checked(place, name, theirs.get(name, 3), "layers")
    pattern = read_pattern(theirs, ("global",) + ("local",) * (every - 1), place)
    window = checked(place, "local_attention", theirs.get("local_attention", 128), "local_window")
    ropes = read_two_ropes(theirs, place, ROPE_KEYS, ROPE_BASES)
    return ropes | {"local_window": window, "layer_pattern": pattern}


MODERNBERT = Family(
    model_type="modernbert",
    classes=("ModernBertForMaskedLM",),
    bare="ModernBertModel",
    base="model.",
    outside=("head.", "decoder."),
    table=lambda model: MODERNBERT_TABLE,
    keys=(
        Key("layers", "num_hidden_layers"),
        Key("hidden_size", "hidden_size"),
        Key("heads", "num_attention_heads"),
        Key("feed_forward_size", "intermediate_size"),
        Key("activation", "hidden_activation", "geglu_exact", {"geglu_exact": "gelu"}),
        Key("norm_epsilon", "norm_eps", 1e-5),
        Key("dropout", ("embedding_dropout", "mlp_dropout", "attention_dropout"), 0.0),
        TIED,
    ),
    ours={
        "architecture": "encoder",
        "positions": "rope",
        "bias": False,
        "norm_bias": False,
        "embedding_norm": True,
        "first_norm": False,
    },
    theirs={
        "attention_bias": False,
        "mlp_bias": False,
        "norm_bias": False,
        "classifier_bias": False,
        "decoder_bias": True,
        "classifier_activation": "gelu",
        "sparse_prediction": False,
    },
    fused="joined",
    write_more=_write,
    read_more=_read,
)
