"""What blocks keep for their backward pass, in values, counted from the tensors that autograd saves.

The counting is that of Korthikanti et al. (2022, section 4.1), for the layers as they are here. Without
dropout a block of width H with an MLP of 4 H keeps 16 H values a token: input and output of both norms,
queries, keys, values, context, and the MLP's inner values before and after its nonlinearity. Attention
kernels keep no scores unless a learned bias is added to them. Tensor parallelism divides what heads and the
MLP keep; sequence parallelism divides the rest.
"""

from pipeline.config import PipelineConfig
from pipeline.costs import flops
from pipeline.costs.lengths import Lengths


def of_stage(
    config: PipelineConfig, lengths: Lengths, encoder_blocks: int, blocks: int, width: int = 4
) -> int:
    """Values of `width` bytes a sample that its blocks keep; with full recomputation inputs, one block."""
    counts = {True: encoder_blocks, False: blocks}
    if config.parallel.recompute != "full":
        return sum(_of_blocks(config, lengths, inner, count, width) for inner, count in counts.items())
    inputs = sum(count * _stream(config, _queries(lengths, inner), 1) for inner, count in counts.items())
    whole = (of_block(config, lengths, inner, width) for inner, count in counts.items() if count)
    return inputs + max(whole, default=0)  # a stage may have the head alone


def _of_blocks(config: PipelineConfig, lengths: Lengths, in_encoder: bool, count: int, width: int) -> int:
    """Of so many blocks, as many of which have experts as can be."""
    model = config.model
    whole = model.encoder_depth if in_encoder else model.layers
    routed = flops.most_expert_layers(model, count, whole)
    kept = (count - routed) * of_block(config, lengths, in_encoder, width, routed=False)
    return kept + routed * of_block(config, lengths, in_encoder, width)


def of_block(
    config: PipelineConfig, lengths: Lengths, in_encoder: bool, width: int = 4, routed: bool = True
) -> int:
    """Values of `width` bytes a sample that one block keeps on one rank, in the encoder or the main stack.

    `routed` says whether it has experts, where the model has them.
    """
    model, tensor = config.model, config.parallel.tensor
    inputs, targets = lengths
    cross = bool(targets) and not in_encoder
    queries = _queries(lengths, in_encoder)
    norms = 3 if cross else 1 if model.parallel_block == "one_norm" else 2
    kept = _stream(config, queries, (2 + (model.norm_placement == "both")) * norms)
    kept += _self_attention(config, queries)
    experts = model.experts if routed else None
    kept += _experts(config, queries) if experts else 0
    inner = model.mlp_size * (experts.active + experts.shared if experts else 1)
    kept += queries * inner * (4 if model.gated else 2) // tensor
    if cross:
        width = model.heads * model.head_width
        kept += 2 * width * (queries + inputs) // tensor
    if model.dropout:
        kept += _stream(config, queries, 2) // width  # masks, a byte each
    return kept


def _experts(config: PipelineConfig, length: int) -> int:
    """Copies of tokens by choice before and behind the experts, evenly loaded; the router's shares."""
    model = config.model
    assert model.experts
    copies = 2 * model.experts.active * model.hidden_size // config.parallel.tensor
    return length * (copies + 2 * model.experts.count)


def _self_attention(config: PipelineConfig, length: int) -> int:
    """Queries and context; keys and values; once more what is turned by positions or copied; scores."""
    model, tensor = config.model, config.parallel.tensor
    width, pair = model.heads * model.head_width, 2 * model.kv_heads * model.head_width
    kept = 2 * width
    rotated = model.positions == "rope"
    if model.kv_heads == 1 and model.heads > 1:
        # One head for all is not cut, and with a shared sequence its input is gathered for it.
        whole = pair + (pair // 2 if rotated else 0)
        whole += model.hidden_size if config.parallel.sequence else 0
        return length * (kept // tensor + whole)
    kept += pair
    if rotated:
        kept += width + pair // 2
    elif model.kv_heads < model.heads:
        kept += width
    if model.qk_norm != "none":
        kept += (width + pair // 2) * (2 if model.qk_norm == "width" else 1)
    if config.parallel.recompute == "none":
        scores = model.positions == "relative" or model.attention_softcap is not None
        kept += model.heads * length * (scores + (model.attention_softcap is not None))
    return length * kept // tensor


def _queries(lengths: Lengths, in_encoder: bool) -> int:
    inputs, targets = lengths
    return targets if targets and not in_encoder else inputs


def _stream(config: PipelineConfig, length: int, times: int) -> int:
    """So many copies of the residual stream, which sequence parallelism divides."""
    share = config.parallel.tensor if config.parallel.sequence else 1
    return times * length * config.model.hidden_size // share
