"""Models of 2023 and later whose weights are published, as values of the `model` section.

Each family is Llama with a change or two, which its values below name; ModernBERT is an encoder made of the
same parts. Sizes are those of the released configurations, and tests count their parameters.
"""

import math

from pipeline.config.sizes import LLAMA, TINY, Values, sized

# Biderman et al. 2023 (Pythia), table 1, and Black et al. 2022: GPT-NeoX, parallel branches, a quarter of
# each head turned by its position.
PYTHIA: Values = {
    "positions": "rope",
    "rope_share": 0.25,
    "activation": "gelu",
    "parallel_block": "two_norms",
    "tied_output": False,
}
MISTRAL: Values = LLAMA | {"norm_epsilon": 1e-5, "local_window": 4096, "layer_pattern": ["local"]}
LLAMA3: Values = LLAMA | {"norm_epsilon": 1e-5, "rope_base": 500_000.0}
STRETCH: Values = {"kind": "llama3", "factor": 8.0, "original_positions": 8192}
LLAMA3_1: Values = LLAMA3 | {"rope_scaling": STRETCH}
LLAMA3_2: Values = LLAMA3 | {"rope_scaling": STRETCH | {"factor": 32.0}, "tied_output": True}
QWEN2: Values = LLAMA | {"qkv_bias": True, "rope_base": 1_000_000.0}
QWEN3: Values = LLAMA | {"qk_norm": "head", "head_size": 128, "rope_base": 1_000_000.0}
OLMO2: Values = LLAMA | {"qk_norm": "width", "norm_placement": "branch", "rope_base": 500_000.0}
SMOLLM2: Values = LLAMA | {"norm_epsilon": 1e-5, "rope_base": 100_000.0, "tied_output": True}
SMOLLM3: Values = LLAMA | {"rope_base": 5_000_000.0, "tied_output": True, "unrotated_every": 4}
GEMMA2: Values = LLAMA | {
    "activation": "geglu",
    "norm_offset": True,
    "norm_placement": "both",
    "tied_output": True,
    "head_size": 256,
    "local_window": 4096,
    "layer_pattern": ["local", "global"],
    "attention_softcap": 50.0,
    "logit_softcap": 30.0,
}
GEMMA3: Values = GEMMA2 | {
    "attention_softcap": None,
    "logit_softcap": None,
    "qk_norm": "head",
    "rope_base": 1_000_000.0,
    "local_rope_base": 10_000.0,
    "local_window": 1024,
    "layer_pattern": ["local"] * 5 + ["global"],
}
GEMMA3_STRETCHED: Values = GEMMA3 | {"rope_scaling": {"kind": "linear", "factor": 8.0}}
MIXTRAL: Values = LLAMA | {"norm_epsilon": 1e-5, "rope_base": 1_000_000.0}
OLMOE: Values = LLAMA | {"norm_epsilon": 1e-5, "qk_norm": "width"}
MODERNBERT: Values = {
    "architecture": "encoder",
    "activation": "geglu_exact",
    "norm_bias": False,
    "bias": False,
    "embedding_norm": True,
    "first_norm": False,
    "positions": "rope",
    "rope_base": 160_000.0,
    "local_rope_base": 10_000.0,
    "local_window": 128,
    "layer_pattern": ["global", "local", "local"],
}


def grouped(layers: int, hidden_size: int, heads: int, kv: int, mlp: int, **more: int | float) -> Values:
    """The keys that differ by size, with heads that share keys and values."""
    return sized(layers, hidden_size, heads, key_value_heads=kv, feed_forward_size=mlp, **more)


def gemma(layers: int, hidden_size: int, heads: int, kv: int, mlp: int, **more: int | float) -> Values:
    """The same with Gemma's factor on embeddings."""
    scale = math.sqrt(hidden_size)
    return grouped(layers, hidden_size, heads, kv, mlp, embedding_scale=scale, **more)


def routed(count: int, active: int, **more: bool | float) -> Values:
    """Layers with so many experts."""
    return {"experts": {"count": count, "active": active} | more}


PLAIN = {"normalise": False, "z": 0.001}
SMALL = {"key_value_heads": 2, "feed_forward_size": 96}
NEAR = {"local_window": 8}
TURNS = {"layer_pattern": ["local", "global"]}

PRESETS: dict[str, Values] = {
    "pythia-70m": PYTHIA | sized(6, 512, 8),
    "pythia-160m": PYTHIA | sized(12, 768, 12),
    "pythia-410m": PYTHIA | sized(24, 1024, 16),
    "pythia-1b": PYTHIA | sized(16, 2048, 8),
    "pythia-1.4b": PYTHIA | sized(24, 2048, 16),
    "pythia-2.8b": PYTHIA | sized(32, 2560, 32),
    "pythia-6.9b": PYTHIA | sized(32, 4096, 32),
    "pythia-12b": PYTHIA | sized(36, 5120, 40),
    "pythia-tiny": PYTHIA | TINY,
    # Jiang et al. 2023
    "mistral-7b": MISTRAL | grouped(32, 4096, 32, 8, 14336),
    "mistral-tiny": MISTRAL | TINY | SMALL | NEAR,
    # Grattafiori et al. 2024, table 3
    "llama3-8b": LLAMA3 | grouped(32, 4096, 32, 8, 14336),
    "llama3-70b": LLAMA3 | grouped(80, 8192, 64, 8, 28672),
    "llama3.1-8b": LLAMA3_1 | grouped(32, 4096, 32, 8, 14336),
    "llama3.1-70b": LLAMA3_1 | grouped(80, 8192, 64, 8, 28672),
    "llama3.1-405b": LLAMA3_1 | grouped(126, 16384, 128, 8, 53248),
    "llama3.2-1b": LLAMA3_2 | grouped(16, 2048, 32, 8, 8192),
    "llama3.2-3b": LLAMA3_2 | grouped(28, 3072, 24, 8, 8192),
    "llama3.2-tiny": LLAMA3_2 | TINY | SMALL,
    # Yang et al. 2024 (Qwen 2), table 1, and Qwen 2.5, table 1
    "qwen2-0.5b": QWEN2 | grouped(24, 896, 14, 2, 4864) | {"tied_output": True},
    "qwen2-1.5b": QWEN2 | grouped(28, 1536, 12, 2, 8960) | {"tied_output": True},
    "qwen2-7b": QWEN2 | grouped(28, 3584, 28, 4, 18944),
    "qwen2-72b": QWEN2 | grouped(80, 8192, 64, 8, 29568),
    "qwen2.5-3b": QWEN2 | grouped(36, 2048, 16, 2, 11008) | {"tied_output": True},
    "qwen2.5-14b": QWEN2 | grouped(48, 5120, 40, 8, 13824) | {"norm_epsilon": 1e-5},
    "qwen2.5-32b": QWEN2 | grouped(64, 5120, 40, 8, 27648) | {"norm_epsilon": 1e-5},
    "qwen2-tiny": QWEN2 | TINY | SMALL,
    # Yang et al. 2025 (Qwen 3), table 1
    "qwen3-0.6b": QWEN3 | grouped(28, 1024, 16, 8, 3072) | {"tied_output": True},
    "qwen3-1.7b": QWEN3 | grouped(28, 2048, 16, 8, 6144) | {"tied_output": True},
    "qwen3-4b": QWEN3 | grouped(36, 2560, 32, 8, 9728) | {"tied_output": True},
    "qwen3-8b": QWEN3 | grouped(36, 4096, 32, 8, 12288),
    "qwen3-14b": QWEN3 | grouped(40, 5120, 40, 8, 17408),
    "qwen3-32b": QWEN3 | grouped(64, 5120, 64, 8, 25600),
    "qwen3-tiny": QWEN3 | TINY | SMALL | {"head_size": 24},
    # OLMo et al. 2024, table 3
    "olmo2-1b": OLMO2 | sized(16, 2048, 16, feed_forward_size=8192),
    "olmo2-7b": OLMO2 | sized(32, 4096, 32, feed_forward_size=11008),
    "olmo2-13b": OLMO2 | sized(40, 5120, 40, feed_forward_size=13824),
    "olmo2-32b": OLMO2 | grouped(64, 5120, 40, 8, 27648),
    "olmo2-tiny": OLMO2 | TINY | SMALL,
    # Gemma Team 2024 (Gemma 2), table 1
    "gemma2-2b": GEMMA2 | gemma(26, 2304, 8, 4, 9216),
    "gemma2-9b": GEMMA2 | gemma(42, 3584, 16, 8, 14336),
    "gemma2-27b": GEMMA2 | gemma(46, 4608, 32, 16, 36864, head_size=128, attention_scalar=144.0),
    "gemma2-tiny": GEMMA2 | gemma(2, 64, 4, 2, 96, head_size=24, attention_scalar=20.0) | NEAR,
    # Gemma Team 2025 (Gemma 3); the parts that read text
    "gemma3-270m": GEMMA3 | gemma(18, 640, 4, 1, 2048, local_window=512),
    "gemma3-1b": GEMMA3 | gemma(26, 1152, 4, 1, 6912, local_window=512),
    "gemma3-4b": GEMMA3_STRETCHED | gemma(34, 2560, 8, 4, 10240),
    "gemma3-12b": GEMMA3_STRETCHED | gemma(48, 3840, 16, 8, 15360),
    "gemma3-27b": GEMMA3_STRETCHED | gemma(62, 5376, 32, 16, 21504, head_size=128, attention_scalar=168.0),
    "gemma3-tiny": GEMMA3 | gemma(2, 64, 4, 1, 96, head_size=24) | NEAR | TURNS,
    # Ben Allal et al. 2025 (SmolLM2) and the release of SmolLM3
    "smollm2-135m": SMOLLM2 | grouped(30, 576, 9, 3, 1536),
    "smollm2-360m": SMOLLM2 | grouped(32, 960, 15, 5, 2560),
    "smollm2-1.7b": SMOLLM2 | sized(24, 2048, 32, feed_forward_size=8192, rope_base=130_000.0),
    "smollm3-3b": SMOLLM3 | grouped(36, 2048, 16, 4, 11008),
    "smollm3-tiny": SMOLLM3 | TINY | SMALL | {"unrotated_every": 2},
    # Jiang et al. 2024 (Mixtral), Muennighoff et al. 2024 (OLMoE), Yang et al. 2025 (Qwen 3), table 2
    "mixtral-8x7b": MIXTRAL | grouped(32, 4096, 32, 8, 14336) | routed(8, 2),
    "mixtral-8x22b": MIXTRAL | grouped(56, 6144, 48, 8, 16384) | routed(8, 2),
    "mixtral-tiny": MIXTRAL | TINY | SMALL | routed(4, 2),
    "olmoe-1b-7b": OLMOE | sized(16, 2048, 16, feed_forward_size=1024) | routed(64, 8, **PLAIN),
    "olmoe-tiny": OLMOE | TINY | SMALL | routed(4, 2, **PLAIN),
    "qwen3-30b-a3b": QWEN3 | grouped(48, 2048, 32, 4, 768) | routed(128, 8, balance=0.001),
    "qwen3-235b-a22b": QWEN3 | grouped(94, 4096, 64, 4, 1536) | routed(128, 8, balance=0.001),
    "qwen3-moe-tiny": QWEN3 | TINY | SMALL | routed(6, 3) | {"head_size": 24},
    # Warner et al. 2024, table 4
    "modernbert-base": MODERNBERT | sized(22, 768, 12, feed_forward_size=1152),
    "modernbert-large": MODERNBERT | sized(28, 1024, 16, feed_forward_size=2624),
    "modernbert-tiny": MODERNBERT
    | TINY
    | NEAR
    | {"feed_forward_size": 96, "layer_pattern": ["global", "local"]},
}
