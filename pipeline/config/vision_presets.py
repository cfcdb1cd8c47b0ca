"""Published image models as values of the recipe's `vision` section.

    vision: {preset: vit-b16}                      the model as published, for 224 pixels and 1,000 classes
    vision: {preset: vit-s16, image_size: 384}     further keys override the preset's

ViT-L and ViT-H are those of the paper, S and Ti those of its authors' later releases. What a preset has of a
masked autoencoder's decoder, or of the space shared with texts, counts for those objectives alone.
ViT-VQGAN's are those of its encoder and of an equal decoder (Yu et al. 2021, table 1, Small and Base); Parti
trained a decoder of 32 layers, 1,280 wide, for the codes of Small afterwards, which is `decoder_layers` and
the like. Its adversarial and perceptual losses are left out, and with them what the counts are of.
"""

from typing import Any

Values = dict[str, Any]

IMAGENET: Values = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CLIP_PIXELS: Values = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}
TINY: Values = {"layers": 2, "hidden_size": 64, "heads": 4, "image_size": 16, "patch_size": 4}
MAE: Values = {"positions": "sinusoidal", **IMAGENET}
CLIP: Values = {
    "embedding_norm": True,
    "patch_bias": False,
    "activation": "quick_gelu",
    "norm_epsilon": 1e-5,
    **CLIP_PIXELS,
}

DIT: Values = {
    "class_token": False,
    "pooling": "mean",
    "positions": "sinusoidal",
    "activation": "gelu_tanh",
}


def vit(layers: int, hidden_size: int, heads: int, patch_size: int, image_size: int = 224) -> Values:
    """A ViT of these sizes."""
    return {
        "layers": layers,
        "hidden_size": hidden_size,
        "heads": heads,
        "patch_size": patch_size,
        "image_size": image_size,
    }


SWIN: Values = {
    "architecture": "swin",
    "patch_size": 4,
    "image_size": 224,
    "class_token": False,
    "pooling": "mean",
    "positions": "none",
    "embedding_norm": True,
    "norm_epsilon": 1e-5,
    **IMAGENET,
}


def swin(hidden_size: int, depths: tuple[int, ...], heads: tuple[int, ...], window: int = 7) -> Values:
    """A Swin of these sizes."""
    return SWIN | {"hidden_size": hidden_size, "depths": depths, "stage_heads": heads, "window": window}


def vqgan(layers: int, hidden_size: int, heads: int) -> Values:
    """A ViT-VQGAN for 256 pixels, its decoder as large as its encoder: 1,024 tokens of 8,192 codes."""
    decoder = {"decoder_layers": layers, "decoder_hidden_size": hidden_size, "decoder_heads": heads}
    tower = vit(layers, hidden_size, heads, 8, image_size=256) | {"class_token": False, "pooling": "mean"}
    return tower | decoder | {"quantiser": {"codes": 8192, "code_size": 32}}


VISION_PRESETS: dict[str, Values] = {
    # Dosovitskiy et al. 2021, table 1, and Steiner et al. 2022, table 2
    "vit-ti16": vit(12, 192, 3, 16),
    "vit-s16": vit(12, 384, 6, 16),
    "vit-b32": vit(12, 768, 12, 32),
    "vit-b16": vit(12, 768, 12, 16),
    "vit-l16": vit(24, 1024, 16, 16),
    "vit-h14": vit(32, 1280, 16, 14),
    "vit-tiny": TINY,
    # He et al. 2022
    "mae-b16": MAE | vit(12, 768, 12, 16),
    "mae-l16": MAE | vit(24, 1024, 16, 16),
    "mae-h14": MAE | vit(32, 1280, 16, 14),
    "mae-tiny": MAE
    | TINY
    | {"hidden_size": 48, "decoder_layers": 2, "decoder_hidden_size": 32, "decoder_heads": 4},
    # Liu et al. 2021, section 3.3
    "swin-t": swin(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin-s": swin(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "swin-b": swin(128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "swin-l": swin(192, (2, 2, 18, 2), (6, 12, 24, 48)),
    "swin-tiny": swin(16, (2, 2), (2, 4), window=4) | {"image_size": 40},
    # Radford et al. 2021, table 20; the text towers have the same names among the presets of `model`
    "clip-b32": CLIP | vit(12, 768, 12, 32) | {"joint_size": 512},
    "clip-b16": CLIP | vit(12, 768, 12, 16) | {"joint_size": 512},
    "clip-l14": CLIP | vit(24, 1024, 16, 14) | {"joint_size": 768},
    "clip-l14-336": CLIP | vit(24, 1024, 16, 14, 336) | {"joint_size": 768},
    "clip-tiny": CLIP | TINY | {"joint_size": 32},
    # Yu et al. 2021, table 1 and section 3.1
    "vit-vqgan-small": vqgan(8, 512, 8),
    "vit-vqgan-base": vqgan(12, 768, 12),
    "vit-vqgan-tiny": vqgan(2, 32, 4)
    | {"image_size": 16, "patch_size": 4, "quantiser": {"codes": 32, "code_size": 8}},
    # Peebles and Xie 2023, table 1: denoisers of objective.kind diffusion. Published ones see four numbers a
    # place of an autoencoder's map, 32 x 32 for pictures of 256 pixels; these see colours of pixels.
    "dit-s2": DIT | vit(12, 384, 6, 2, 32),
    "dit-b2": DIT | vit(12, 768, 12, 2, 32),
    "dit-l2": DIT | vit(24, 1024, 16, 2, 32),
    "dit-xl2": DIT | vit(28, 1152, 16, 2, 32),
    "dit-tiny": DIT | TINY | {"patch_size": 2},
}
