"""transformers' models of a configuration's sizes, with random weights, to measure beside."""

from typing import Any

import transformers
from torch import nn

from pipeline.config import ModelConfig


def reference(model: ModelConfig, vocabulary: int, length: int) -> nn.Module:
    """A GPT-2, BERT or T5 of these sizes, without dropout, its attention by torch's kernels where it can."""
    if model.architecture == "decoder":
        drops = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        return transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                vocab_size=vocabulary,
                n_positions=length,
                n_embd=model.hidden_size,
                n_layer=model.layers,
                n_head=model.heads,
                n_inner=model.mlp_size,
                use_cache=False,
                **drops,
            )
        )
    sizes: dict[str, Any] = {"vocab_size": vocabulary, "num_hidden_layers": model.layers}
    if model.architecture == "encoder":
        return transformers.BertForMaskedLM(
            transformers.BertConfig(
                hidden_size=model.hidden_size,
                num_attention_heads=model.heads,
                intermediate_size=model.mlp_size,
                hidden_act="gelu_new",
                max_position_embeddings=length,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                **sizes,
            )
        )
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=vocabulary,
            d_model=model.hidden_size,
            d_kv=model.head_width,
            d_ff=model.mlp_size,
            num_layers=model.layers,
            num_heads=model.heads,
            dropout_rate=0.0,
            decoder_start_token_id=0,
            use_cache=False,
        )
    )
