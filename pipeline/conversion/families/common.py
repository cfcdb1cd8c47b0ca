"""What several families have in common."""

from pipeline.conversion.family import Key, Table

GELUS = {"gelu_tanh": "gelu_new", "gelu": "gelu"}
TIED = Key("tied_output", "tie_word_embeddings", True)

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
