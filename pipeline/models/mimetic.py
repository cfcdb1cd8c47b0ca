"""Initial weights that resemble those training ends with (Trockman & Kolter 2023), where it would take long.

Adam moves a weight by about the learning rate in each step. Biases of relative positions that start near 0
thus need thousands of steps before a head sees its neighbours more than everything else, and until then an
encoder gives its decoder a bag of words. Cross-attention has to find that the sentinel it is asked for is the
one in the input. `model.mimetic` starts with both:

- half of the heads with relative positions look near: in an encoder by turns at the token before and at the
  one after, in a decoder at the own token; each further one, or pair, half as sharply;
- keys of cross-attention start as its queries, so that scores are highest where both sides are alike.
"""

import torch
from torch import Tensor

from pipeline.config import ModelConfig
from pipeline.models.buckets import bucket_offsets
from pipeline.models.initialize import draw

SHARPEST, DEEPEST = 2.0, 8.0
"""Nats that the score of the sharpest heads falls with each token of distance, and falls at most: what is
further away is hardly seen and can still be learned."""


def near(name: str, seed: int, drawn_BN: Tensor, distance: int, both_ways: bool) -> Tensor:
    """Biases by bucket and head whose first N // 2 heads look near; a bucket that nothing falls in stays."""
    biases_BN, offsets_B = drawn_BN.clone(), bucket_offsets(len(drawn_BN), distance, both_ways)
    used = ~offsets_B.isnan()
    for head in range(drawn_BN.shape[1] // 2):
        turn = head // 2 if both_ways else head
        centre = (-1, 1)[head % 2] if both_ways else 0
        falls = SHARPEST * 0.5**turn * (offsets_B[used] - centre).abs()
        biases_BN[used, head] = -falls.clamp(max=DEEPEST)
    return biases_BN


def alike(name: str, seed: int, drawn: Tensor, model: ModelConfig, std: float) -> Tensor:
    """Keys and values [K 2 D, H] whose keys are their group's first query, at keys' own scale `std`."""
    shape = (model.kv_heads, model.heads // model.kv_heads, model.head_width, drawn.shape[1])
    queries_KNDH = draw(name.replace("key_value", "query"), seed, torch.Size(shape), std)
    both_KTDH = drawn.clone().view(model.kv_heads, 2, *shape[2:])
    both_KTDH[:, 0] = queries_KNDH[:, 0]
    return both_KTDH.view(drawn.shape)
