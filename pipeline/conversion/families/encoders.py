"""BERT and RoBERTa."""

from pipeline.conversion.families.common import GELUS, TIED, within
from pipeline.conversion.family import Family, Key, Table

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
    "pooler.dense": "bert.pooler.dense",
}
ROBERTA_TABLE: Table = _bert_body("roberta.") | {
    "masked_head.dense": "lm_head.dense",
    "masked_head.norm": "lm_head.layer_norm",
    "masked_head": "lm_head",
    "head.table": "lm_head.decoder",
    "pooler.dense": "roberta.pooler.dense",
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
    bare="BertModel",
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
    bare="RobertaModel",
    base="roberta.",
    table=lambda model: ROBERTA_TABLE,
    keys=BERT_KEYS,
    ours=BERT_VALUES | {"token_types": 1},
    theirs=BERT_NEEDS | {"type_vocab_size": 1},
    position_offset=lambda facts: (facts.pad or 0) + 1,
    offset_counted=True,
    copies=("roberta.embeddings.position_ids", "lm_head.decoder.bias", "roberta.pooler.dense.*"),
)
