"""A tiny GPT-2 as it is published, in milliseconds, and ways to change its files."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

ROWS, HIDDEN, POSITIONS = 64, 8, 16
INDEX, SHARD, SINGLE = "model.safetensors.index.json", "model-00001-of-00001.safetensors", "model.safetensors"
MASK = "transformer.h.0.attn.bias"
"""What is left out by rule, wherever it is."""
CONFIG = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "vocab_size": ROWS,
    "n_positions": POSITIONS,
    "n_embd": HIDDEN,
    "n_layer": 1,
    "n_head": 2,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


def folder(place: Path, **config: Any) -> Path:
    """The folder, with some values of config.json changed."""
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(CONFIG | config))
    h = HIDDEN
    block = {
        **{key: [h] for key in ("ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias")},
        **{"attn.c_attn.weight": [h, 3 * h], "attn.c_attn.bias": [3 * h]},
        **{"attn.c_proj.weight": [h, h], "attn.c_proj.bias": [h], "mlp.c_fc.weight": [h, 4 * h]},
        **{"mlp.c_fc.bias": [4 * h], "mlp.c_proj.weight": [4 * h, h], "mlp.c_proj.bias": [h]},
    }
    shapes = {"wte.weight": [ROWS, h], "wpe.weight": [POSITIONS, h], "ln_f.weight": [h], "ln_f.bias": [h]}
    shapes |= {f"h.0.{name}": shape for name, shape in block.items()}
    generator = torch.Generator().manual_seed(0)
    tensors = {f"transformer.{n}": torch.randn(s, generator=generator) for n, s in shapes.items()}
    save_file(tensors, place / SINGLE, metadata={"format": "pt"})
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())[: ROWS - 1]
    pieces = {"<|endoftext|>": 0} | {sign: i + 1 for i, sign in enumerate(signs)}
    tokenizer = Tokenizer(models.BPE(vocab=pieces, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(place / "tokenizer.json"))
    return place


def indexed(place: Path, extra: dict[str, Any], metadata: Any = {"total_size": 1}) -> Path:  # noqa: B006
    """The folder with an index, in which the places of some tensors are others."""
    names = dict.fromkeys(load_file(folder(place) / SINGLE), SHARD)
    (place / SINGLE).rename(place / SHARD)
    content = {"weight_map": names | extra} | ({} if metadata is None else {"metadata": metadata})
    (place / INDEX).write_text(json.dumps(content))
    return place


def with_tensors(place: Path, change: Any) -> Path:
    """The folder with other tensors."""
    tensors = load_file(folder(place) / SINGLE)
    change(tensors)
    save_file(tensors, place / SINGLE, metadata={"format": "pt"})
    return place
