"""Gopher and Chinchilla as values of the `model` section: 44M to 280B, of one architecture.

Rae et al. 2021, table 1, and Hoffmann et al. 2022, tables 4 and A9. RMSNorm, a word table of 32,000 pieces,
and Transformer-XL's relative positions, which no model here has: each layer of theirs projects the encodings
of distances by one more matrix, as large as the query's. Rotary positions stand in for them, relative as well
but without weights, so that a preset has the published parameters less these matrices (5 to 8 %).
"""

from typing import Any

GOPHER: dict[str, Any] = {
    "positions": "rope",
    "norm": "rmsnorm",
    "norm_epsilon": 1e-6,
}

# millions of parameters: (width, heads, layers); heads of 64 up to 306M, then of 128
TABLE_A9 = {
    44: (512, 8, 8),
    57: (576, 9, 9),
    74: (640, 10, 10),
    90: (640, 10, 13),
    106: (640, 10, 16),
    117: (768, 12, 12),
    140: (768, 12, 15),
    163: (768, 12, 18),
    175: (896, 14, 14),
    196: (896, 14, 16),
    217: (896, 14, 18),
    251: (1024, 16, 16),
    278: (1024, 16, 18),
    306: (1024, 16, 20),
    425: (1280, 10, 18),
    489: (1280, 10, 21),
    509: (1408, 11, 18),
    552: (1280, 10, 24),
    587: (1408, 11, 21),
    632: (1536, 12, 19),
    664: (1408, 11, 24),
    724: (1536, 12, 22),
    816: (1536, 12, 25),
    893: (1792, 14, 20),
    1018: (1792, 14, 23),
    1143: (1792, 14, 26),
    1266: (2048, 16, 22),
    1424: (2176, 17, 22),
    1429: (2048, 16, 25),
    1593: (2048, 16, 28),
    1609: (2176, 17, 25),
    1731: (2304, 18, 24),
    1794: (2176, 17, 28),
    2007: (2304, 18, 28),
    2283: (2304, 18, 32),
    2298: (2560, 20, 26),
    2639: (2560, 20, 30),
    2980: (2560, 20, 34),
    3530: (2688, 22, 36),
    3802: (2816, 22, 36),
    4084: (2944, 22, 36),
    4516: (3072, 24, 36),
    6796: (3584, 28, 40),
    9293: (4096, 32, 42),
    11452: (4352, 32, 47),
    12295: (4608, 36, 44),
    12569: (4608, 32, 47),
    13735: (4864, 32, 47),
    14940: (4992, 32, 49),
    16183: (5120, 40, 47),
}


def gopher(hidden_size: int, heads: int, layers: int, head_size: int = 128) -> dict[str, Any]:
    """One size; heads need not fill the width."""
    return GOPHER | {"layers": layers, "hidden_size": hidden_size, "heads": heads, "head_size": head_size}


PRESETS = {
    "gopher-44m": gopher(512, 16, 8, head_size=32),
    "gopher-117m": gopher(768, 12, 12, head_size=64),
    "gopher-417m": gopher(1536, 12, 12),
    "gopher-1.4b": gopher(2048, 16, 24),
    "gopher-7.1b": gopher(4096, 32, 32),
    "gopher-280b": gopher(16384, 128, 80),
    "gopher-tiny": gopher(64, 4, 2, head_size=16),
    **{
        f"chinchilla-{size}m": gopher(*shape, head_size=64 if size <= 306 else 128)
        for size, shape in TABLE_A9.items()
    },
    "chinchilla-70b": gopher(8192, 64, 80),
    "chinchilla-tiny": gopher(64, 3, 2, head_size=16),
}
