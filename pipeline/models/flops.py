"""What a model costs: parameters and floating-point operations, computed without building it.

A matrix product of an n x m weight costs 2nm FLOPs per token forward and twice that backward. Attention's two
products cost 4 S H per token and layer over a full square; a causal kernel computes half of it, so 2 S H is
counted (Dao, 2022, appendix; PaLM's appendix B counts the full square). Recomputation is not counted.
"""

from pipeline.config import ModelConfig

VOCABULARY_MULTIPLE = 128
"""Word tables are padded to a multiple of this: their shape does not depend on the parallel layout."""


def padded_vocabulary(size: int) -> int:
    """Rows of the word table for a tokenizer of `size` pieces."""
    return -(-size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def block_weights(model: ModelConfig) -> int:
    """Matrix entries of one transformer layer, biases and norms left out."""
    head_size = model.hidden_size // model.heads
    attention = model.hidden_size * head_size * (2 * model.heads + 2 * model.key_value_heads)
    matrices = 3 if model.activation == "swiglu" else 2
    return attention + matrices * model.hidden_size * model.mlp_size


def parameters(model: ModelConfig, vocabulary_rows: int, position_rows: int) -> int:
    """Parameters of a decoder; tied words count once."""
    hidden = model.hidden_size
    norm = hidden * (2 if model.norm == "layernorm" else 1)
    fused_heads = (model.heads + 2 * model.key_value_heads) * (hidden // model.heads)
    up = model.mlp_size * (2 if model.activation == "swiglu" else 1)
    biases = fused_heads + up + 2 * hidden if model.bias else 0
    tables = vocabulary_rows * (1 if model.tied_output else 2)
    if model.positions == "learned":
        tables += position_rows
    return model.layers * (block_weights(model) + biases + 2 * norm) + norm + tables * hidden


def block(model: ModelConfig, sequence_length: int) -> float:
    """FLOPs per token of one layer's forward pass."""
    return 2.0 * block_weights(model) + 2.0 * sequence_length * model.hidden_size


def training_per_token(model: ModelConfig, vocabulary_rows: int, sequence_length: int) -> float:
    """Model FLOPs per token of a training step, forward and backward, with the head."""
    head = 2.0 * vocabulary_rows * model.hidden_size
    return 3.0 * (model.layers * block(model, sequence_length) + head)
