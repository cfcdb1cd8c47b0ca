"""Names of the metrics that say which share of a layer's tokens chose an expert; needs no torch."""

EXPERT_SHARE = "expert_share"
"""How they begin."""


def share_name(layer: str, expert: int) -> str:
    """The metric of one expert.

    >>> share_name("decoder.blocks.1", 3)
    'expert_share.decoder.blocks.1.3'
    """
    return f"{EXPERT_SHARE}.{layer}.{expert}"
