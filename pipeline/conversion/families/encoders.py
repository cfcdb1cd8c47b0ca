"""BERT, RoBERTa, DistilBERT, ALBERT and ELECTRA."""

from dataclasses import replace
from typing import Any

from pipeline.conversion.families.common import GELUS, TIED, within
from pipeline.conversion.family import LARGEST_SIZE, Family, Key, Table, whole

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

DISTILBERT_BLOCK: Table = {
    "attention.qkv": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "attention.output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "mlp.up": "ffn.lin1",
    "mlp.down": "ffn.lin2",
    "mlp_norm": "output_layer_norm",
}
DISTILBERT_TABLE: Table = {
    "words.table": "distilbert.embeddings.word_embeddings",
    "positions": "distilbert.embeddings.position_embeddings",
    "embedding_norm": "distilbert.embeddings.LayerNorm",
    **within("blocks.*.", "distilbert.transformer.layer.*.", DISTILBERT_BLOCK),
    "masked_head.dense": "vocab_transform",
    "masked_head.norm": "vocab_layer_norm",
    "masked_head": "vocab_projector",
    "head.table": "vocab_projector",
}

DISTILBERT = Family(
    model_type="distilbert",
    classes=("DistilBertForMaskedLM",),
    bare="DistilBertModel",
    base="distilbert.",
    outside=("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
    table=lambda model: DISTILBERT_TABLE,
    keys=(
        Key("layers", "n_layers"),
        Key("hidden_size", "dim"),
        Key("heads", "n_heads"),
        Key("feed_forward_size", "hidden_dim"),
        Key("activation", "activation", "gelu", {**GELUS, "relu": "relu"}),
        Key("dropout", ("dropout", "attention_dropout"), 0.1),
        TIED,
    ),
    ours=BERT_VALUES | {"token_types": 0, "norm_epsilon": 1e-12},
    theirs={"sinusoidal_pos_embds": False},
    copies=("distilbert.embeddings.position_ids",),
)

ALBERT_LAYER = "albert.encoder.albert_layer_groups.0.albert_layers.0."
ALBERT_TABLE: Table = {
    **{name: one for name, one in _bert_body("albert.").items() if not name.startswith("blocks.")},
    "project_in": "albert.encoder.embedding_hidden_mapping_in",
    "blocks.*.attention.qkv": tuple(f"{ALBERT_LAYER}attention.{one}" for one in ("query", "key", "value")),
    "blocks.*.attention.output": f"{ALBERT_LAYER}attention.dense",
    "blocks.*.attention_norm": f"{ALBERT_LAYER}attention.LayerNorm",
    "blocks.*.mlp.up": f"{ALBERT_LAYER}ffn",
    "blocks.*.mlp.down": f"{ALBERT_LAYER}ffn_output",
    "blocks.*.mlp_norm": f"{ALBERT_LAYER}full_layer_layer_norm",
    "masked_head.dense": "predictions.dense",
    "masked_head.norm": "predictions.LayerNorm",
    "masked_head": "predictions",
    "head.table": "predictions.decoder",
    "next_sentence.pool": "albert.pooler",
    "next_sentence.classify": "sop_classifier.classifier",
    "pooler.dense": "albert.pooler",
}

ALBERT = replace(
    BERT,
    model_type="albert",
    classes=("AlbertForMaskedLM", "AlbertForPreTraining"),
    bare="AlbertModel",
    base="albert.",
    outside=("predictions.", "sop_classifier."),
    table=lambda model: ALBERT_TABLE,
    keys=(
        *(key for key in BERT_KEYS if key.ours not in ("activation", "dropout")),
        Key("activation", "hidden_act", "gelu_tanh", {**GELUS, "relu": "relu"}),
        Key("dropout", ("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0),
        Key("token_types", "type_vocab_size", 2),
        Key("word_size", "embedding_size", 128),
    ),
    ours=BERT_VALUES | {"shared_layers": True, "word_size_of": "embeddings"},
    theirs={"num_hidden_groups": 1, "inner_group_num": 1, "is_decoder": False, "add_cross_attention": False},
    copies=("albert.embeddings.position_ids", "predictions.decoder.bias", "albert.pooler.*"),
    sentence_task="sentence_order",
)

ELECTRA_TABLE: Table = _bert_body("electra.") | {
    "project_in": "electra.embeddings_project",
    "masked_head.dense": "generator_predictions.dense",
    "masked_head.norm": "generator_predictions.LayerNorm",
    "masked_head": "generator_lm_head",
    "head.table": "generator_lm_head",
}


def _embedding_size(ours: dict[str, Any]) -> dict[str, Any]:
    return {"embedding_size": ours["word_size"] or ours["hidden_size"]}


def _word_size(theirs: dict[str, Any], place: str) -> dict[str, Any]:
    size = whole(place, "embedding_size", theirs.get("embedding_size", 128), 1, LARGEST_SIZE)
    return {} if size == theirs["hidden_size"] else {"word_size": size, "word_size_of": "embeddings"}


ELECTRA = replace(
    BERT,
    model_type="electra",
    classes=("ElectraForMaskedLM",),
    bare="ElectraModel",
    bared=("ElectraForPreTraining",),
    base="electra.",
    outside=("generator_predictions.", "generator_lm_head.", "discriminator_predictions."),
    table=lambda model: ELECTRA_TABLE,
    keys=(
        *(key for key in BERT_KEYS if key.ours != "activation"),
        Key("activation", "hidden_act", "gelu", {"gelu": "gelu"}),
        Key("token_types", "type_vocab_size", 2),
    ),
    copies=("electra.embeddings.position_ids", "discriminator_predictions.*"),
    write_more=_embedding_size,
    read_more=_word_size,
)
"""Its generator; its discriminator without a head is the bare model."""
