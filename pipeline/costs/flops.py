"""What a model costs: parameters and floating-point operations, computed without building it.

A matrix product of an n x m weight costs 2nm FLOPs per token forward and twice that backward. Attention's two
products cost 4 S H per token and layer over a full square; a causal kernel computes half of it, so 2 S H is
counted (Dao, 2022, appendix; PaLM's appendix B counts the full square). Recomputation is not counted.
"""

from pipeline.config import ModelConfig, ObjectiveConfig
from pipeline.config.generator import generator_of
from pipeline.costs.lengths import Lengths

PLACE_SIZE, BOUNDARY_PLACES = 200, 15
"""Width of the embedding of places in a span, and how many there are (SpanBERT's code)."""
VOCABULARY_MULTIPLE = 128
"""Word tables are padded to a multiple of this: their shape does not depend on the parallel layout."""


def padded_vocabulary(size: int) -> int:
    """Rows of the word table for a tokenizer of `size` pieces."""
    return -(-size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def query_output_weights(model: ModelConfig) -> int:
    """Matrix entries of one attention's projections on the side of the queries."""
    return 2 * model.hidden_size * model.head_width * model.heads


def key_value_weights(model: ModelConfig) -> int:
    """Matrix entries of one attention's key and value projections."""
    return 2 * model.hidden_size * model.head_width * model.kv_heads


def mlp_weights(model: ModelConfig) -> int:
    """Matrix entries of one MLP or of one expert."""
    return (3 if model.gated else 2) * model.hidden_size * model.mlp_size


def idle_weights(model: ModelConfig) -> int:
    """Matrix entries of the experts that a token does not go through, over all layers."""
    if model.experts is None:
        return 0
    layers = model.expert_layers(model.layers) + model.expert_layers(model.encoder_depth)
    return layers * (model.experts.count - model.experts.active) * mlp_weights(model)


def block_weights(model: ModelConfig, cross: bool = False, routed: bool | None = None) -> int:
    """Matrix entries of one transformer layer that a token goes through, biases and norms left out.

    `routed` says whether it has experts; None does where the model has them.
    """
    attention = query_output_weights(model) + key_value_weights(model)
    mlps, router = 1, 0
    if model.experts and routed is not False:
        mlps, router = model.experts.active + model.experts.shared, model.experts.count * model.hidden_size
    return attention * (2 if cross else 1) + mlps * mlp_weights(model) + router


def norm_size(model: ModelConfig, width: int | None = None) -> int:
    """Parameters of one norm, of the residual stream or of another width."""
    return (width or model.hidden_size) * (2 if model.norm == "layernorm" and model.norm_bias else 1)


def block_norms(model: ModelConfig, cross: bool = False) -> int:
    """Norms of one transformer layer."""
    branches = 3 if cross else 1 if model.parallel_block == "one_norm" else 2
    return branches * (2 if model.norm_placement == "both" else 1)


def block_parameters(model: ModelConfig, cross: bool = False, routed: bool | None = None) -> int:
    """All parameters of one transformer layer; `routed` as for `block_weights`."""
    inputs = (model.heads + 2 * model.kv_heads) * model.head_width if model.has_qkv_bias else 0
    outputs = model.hidden_size if model.bias else 0
    mlp = model.mlp_size * (2 if model.gated else 1) + model.hidden_size if model.bias else 0
    biases = (inputs + outputs) * (2 if cross else 1) + mlp
    norms = block_norms(model, cross) * norm_size(model)
    heads = {"none": 0, "head": 2, "width": model.heads + model.kv_heads}[model.qk_norm]
    matrices = block_weights(model, cross, routed)
    if model.experts and routed is not False:
        matrices += (model.experts.count - model.experts.active) * mlp_weights(model)
    return matrices + biases + norms + heads * model.head_width


def most_expert_layers(model: ModelConfig, layers: int, whole: int) -> int:
    """How many at most of so many layers in a row, of a stack of `whole`, have experts."""
    if model.experts is None:
        return 0
    return min(model.expert_layers(whole), -(-layers // model.experts.every))


def blocks_parameters(model: ModelConfig, layers: int, cross: bool = False) -> int:
    """Parameters of a stack's first layers, of which some have experts."""
    routed = model.expert_layers(layers)
    dense = (layers - routed) * block_parameters(model, cross, routed=False)
    return dense + routed * block_parameters(model, cross, routed=True)


def stack_extras(model: ModelConfig, position_rows: int, heads: int) -> int:
    """Parameters of one stack outside its blocks: positions, norms at either end."""
    tables = {"learned": position_rows * model.embedding_width, "relative": model.relative_buckets * heads}
    norms = norm_size(model, model.embedding_width) if model.embedding_norm else 0
    norms += norm_size(model) if model.norm_placement != "post" else 0
    return tables.get(model.positions, 0) + norms


def parameters(
    model: ModelConfig, vocabulary_rows: int, position_rows: int, objective: ObjectiveConfig | None = None
) -> int:
    """Parameters of a model with the head of its objective, and of a generator beside it; tied words once."""
    if objective and objective.kind == "replaced_tokens" and model.language_head:
        generator = generator_of(model, objective)
        bare = model.model_copy(update={"language_head": False})
        encoders = sum(parameters(one, vocabulary_rows, position_rows) for one in (bare, generator))
        shared = shared_embeddings(model, vocabulary_rows, position_rows)
        return encoders + discriminator_weights(model) - shared
    hidden, both = model.hidden_size, model.architecture == "encoder_decoder"
    count = vocabulary_rows * (model.word_size or hidden)
    count *= 2 if model.language_head and not model.tied_output else 1
    count += projections(model) + model.token_types * model.embedding_width
    count += blocks_parameters(model, 1 if model.shared_layers else model.layers, cross=both)
    count += blocks_parameters(model, model.encoder_depth)
    count += (2 if both else 1) * stack_extras(model, position_rows, model.heads)
    count -= 0 if model.first_norm else norm_size(model)
    if model.architecture == "encoder" and model.language_head:
        width = model.embedding_width
        count += width * (hidden + model.bias) + norm_size(model, width) + vocabulary_rows
    if model.pooler:
        count += hidden * (hidden + 1)
    if objective and objective.span_boundary:
        count += boundary_weights(model) + BOUNDARY_PLACES * PLACE_SIZE + vocabulary_rows
        count += 2 * (hidden + norm_size(model))
    if objective and objective.has_sentence_task:
        count += hidden * (hidden + 1) + 2 * (hidden + 1)
    return count


def boundary_weights(model: ModelConfig) -> int:
    """Matrix entries between the states at a span's borders and the words (SpanBERT)."""
    return (2 * model.hidden_size + PLACE_SIZE) * model.hidden_size + model.hidden_size**2


def discriminator_weights(model: ModelConfig) -> int:
    """Parameters of the head that says of tokens whether they were replaced."""
    return model.hidden_size * (model.hidden_size + 1) + model.hidden_size + 1


def discriminator_cost(model: ModelConfig) -> float:
    """FLOPs per token of its forward pass."""
    return 2.0 * model.hidden_size * (model.hidden_size + 1)


def shared_embeddings(model: ModelConfig, vocabulary_rows: int, position_rows: int) -> int:
    """Parameters that a generator and a discriminator both have."""
    width = model.embedding_width
    norm = norm_size(model, width) if model.embedding_norm else 0
    positions = position_rows if model.positions == "learned" else 0
    return (vocabulary_rows + positions + model.token_types) * width + norm


def projections(model: ModelConfig) -> int:
    """Parameters between the width of the words and that of the residual stream."""
    if model.word_size is None:
        return 0
    if model.word_size_of == "embeddings":
        return (model.word_size + 1) * model.hidden_size
    return 2 * model.word_size * model.hidden_size


def embedding_parameters(model: ModelConfig, vocabulary_rows: int, position_rows: int) -> int:
    """Parameters that Kaplan et al. 2020, section 2.1, leave out: words, positions and token types.

    An output head of its own is as large as the word table, and left out too.
    """
    words = vocabulary_rows * (model.word_size or model.hidden_size) * (1 if model.tied_output else 2)
    positions = position_rows * model.embedding_width if model.positions == "learned" else 0
    stacks = 2 if model.architecture == "encoder_decoder" else 1
    return words + stacks * positions + model.token_types * model.embedding_width


def attention_products(model: ModelConfig, keys: int, causal: bool) -> float:
    """FLOPs per query of scores and weighted values over `keys` keys, half of them where causal."""
    return (2.0 if causal else 4.0) * keys * model.heads * model.head_width


def block_cost(model: ModelConfig, lengths: Lengths, in_encoder: bool, routed: bool | None = None) -> float:
    """FLOPs per sample of one layer's forward pass, in the encoder before a decoder or in the main stack.

    `routed` as for `block_weights`; tokens that an expert drops are counted as if they went through.
    """
    inputs, targets = lengths
    if not targets or in_encoder:
        causal = model.architecture == "decoder"
        return inputs * (
            2.0 * block_weights(model, routed=routed) + attention_products(model, inputs, causal)
        )
    own = 2.0 * block_weights(model, routed=routed) + attention_products(model, targets, causal=True)
    cross = 2.0 * query_output_weights(model) + attention_products(model, inputs, causal=False)
    return targets * (own + cross) + inputs * 2.0 * key_value_weights(model)


def block_costs(model: ModelConfig, lengths: Lengths) -> list[float]:
    """`block_cost` of every layer of the encoder, then of the main stack."""
    costs = {
        (inner, routed): block_cost(model, lengths, inner, routed)
        for inner in (True, False)
        for routed in (True, False)
    }
    stacks = ((True, model.encoder_depth), (False, model.layers))
    return [costs[inner, model.has_experts(i)] for inner, count in stacks for i in range(count)]


def head_cost(model: ModelConfig, lengths: Lengths, vocabulary_rows: int) -> float:
    """FLOPs per sample of the output head's forward pass."""
    per_token = 2.0 * vocabulary_rows * (model.word_size or model.hidden_size)
    if model.architecture == "encoder":
        per_token += 2.0 * model.hidden_size * model.embedding_width
    return (lengths.targets or lengths.inputs) * per_token


def training_per_sample(
    model: ModelConfig, lengths: Lengths, vocabulary_rows: int, objective: ObjectiveConfig | None = None
) -> float:
    """Model FLOPs per sample of a training step, forward and backward, with the head of the objective."""
    blocks = sum(block_costs(model, lengths))
    if objective and objective.kind == "replaced_tokens":
        generator = generator_of(model, objective)
        blocks += generator.layers * block_cost(generator, lengths, in_encoder=False)
    return 3.0 * (blocks + heads_cost(model, lengths, vocabulary_rows, objective))


def heads_cost(
    model: ModelConfig, lengths: Lengths, vocabulary_rows: int, objective: ObjectiveConfig | None
) -> float:
    """FLOPs per sample of the forward pass of what stands behind the blocks.

    A generator predicts at hidden tokens alone, the discriminator at all.
    """
    if objective is None or objective.kind != "replaced_tokens":
        found = head_cost(model, lengths, vocabulary_rows)
        if objective and objective.span_boundary:
            per_token = 2.0 * boundary_weights(model) + 2.0 * vocabulary_rows * model.hidden_size
            found += objective.density * lengths.inputs * per_token
        return found
    narrow = head_cost(generator_of(model, objective), lengths, vocabulary_rows)
    return objective.density * narrow + lengths.inputs * discriminator_cost(model)
