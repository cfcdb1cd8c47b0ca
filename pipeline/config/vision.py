"""The recipe's `vision` section: what reads images; ViT and the towers of MAE and CLIP are values of it."""

from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from data_prep.contract.problems import did_you_mean
from data_prep.contract.settings import Settings
from pipeline.config.model import Layers, ModelConfig, Width
from pipeline.config.quantiser import QuantiserConfig
from pipeline.config.vision_presets import VISION_PRESETS

CHANNELS = 3
"""Red, green, blue."""
Colours = tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class VisionConfig(Settings):
    later = frozenset({"quantiser", "latents", "resampler_layers", "cross_every"})

    preset: str | None = None
    """A published model, such as vit-b16: it gives every key of this section that the recipe leaves out."""
    architecture: Literal["vit", "swin"] = "vit"
    """Attention over all patches, or in windows of maps that halve from stage to stage."""
    image_size: int = Field(32, ge=1, le=1 << 14)
    """Side of the square images that the model reads, in pixels."""
    patch_size: int = Field(4, ge=1, le=1 << 10)
    """Side of a patch in pixels: a patch is what a token is for text."""
    layers: Layers = 4
    """Number of transformer layers; a Swin has those of `depths`."""
    hidden_size: Width = 128
    """Width of the residual stream; a Swin's doubles from stage to stage."""
    heads: Width = 4
    """Number of attention heads; a Swin has `stage_heads`."""
    depths: tuple[Layers, ...] = Field((), max_length=16)
    """Layers of each stage of a Swin."""
    stage_heads: tuple[Width, ...] = Field((), max_length=16)
    """Heads of each stage of a Swin."""
    window: int = Field(7, ge=1, le=1 << 10)
    """Side of a Swin's windows, in places of its map."""
    feed_forward_size: Width | None = None
    """Width inside the MLP; null is 4 times hidden_size."""
    activation: Literal["gelu", "gelu_tanh", "quick_gelu"] = "gelu"
    """Nonlinearity of the MLP: exact GELU, its tanh form, or x sigmoid(1.702 x), which CLIP was made with."""
    norm_epsilon: PositiveFloat = 1e-6
    """Added to the variance in normalisation."""
    class_token: bool = True
    """Whether a learned token stands before the patches."""
    pooling: Literal["class", "mean"] = "class"
    """What the head sees of the last layer: the class token, or the mean over the patches."""
    positions: Literal["learned", "sinusoidal", "none"] = "learned"
    """Learned positions, fixed sines and cosines of row and column (MAE), or none (Swin)."""
    embedding_norm: bool = False
    """Whether the embeddings are normalised before the first layer (CLIP)."""
    patch_bias: bool = True
    """Whether the patch embedding has a bias; CLIP's has none."""
    mean: Colours = (0.5, 0.5, 0.5)
    """Taken from red, green and blue in [0, 1] before they are divided by std."""
    std: Colours = (0.5, 0.5, 0.5)
    """What they are divided by; 0.5 for both gives [-1, 1]."""
    classes: int | None = Field(None, ge=1, le=1 << 24)
    """Classes that a classification head tells apart; null takes those of the dataset."""
    joint_size: Width | None = None
    """Width of the space shared with texts (CLIP), whose tower is the section `model`; null has no texts."""
    quantiser: QuantiserConfig | None = None
    """How images become tokens of a codebook (ViT-VQGAN); null has none."""
    decoder_layers: Layers = 8
    """Layers of the decoder of a masked autoencoder or of a quantiser."""
    decoder_hidden_size: Width = 512
    """Width of that decoder."""
    decoder_heads: Width = 16
    """Heads of that decoder."""
    latents: int = Field(64, ge=1, le=1 << 12)
    """What a resampler makes of an image, for a language model that looks at images (Flamingo)."""
    resampler_layers: Layers = 6
    """Layers of that resampler."""
    cross_every: int = Field(1, ge=1, le=1 << 10)
    """Which blocks of the language model have a layer in front that looks at images: every so manieth."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Dropout probability on embeddings, attention and residual branches."""
    stochastic_depth: float = Field(0.0, ge=0.0, lt=1.0)
    """Probability that the last layer's branches are left out for an image in training; it rises linearly
    from 0 at the first layer."""
    initial_std: PositiveFloat = 0.02
    """Standard deviation of initial weights; class token and classification head start at zero."""

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("preset") is None:
            return given
        name = str(given["preset"])
        if name not in VISION_PRESETS:
            near = did_you_mean(name, VISION_PRESETS) or f"; there are {', '.join(VISION_PRESETS)}"
            raise ValueError(f"no preset of vision is called {name}{near}")
        return VISION_PRESETS[name] | given

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not divisible by patch_size {self.patch_size}")
        sizes = {"hidden_size": self.hidden_size, "decoder_hidden_size": self.decoder_hidden_size}
        heads = {"hidden_size": self.heads, "decoder_hidden_size": self.decoder_heads}
        for name, size in sizes.items():
            if size % heads[name]:
                key = "heads" if name == "hidden_size" else "decoder_heads"
                raise ValueError(f"{name} {size} is not divisible by {key} {heads[name]}")
        self._stages_go_together()
        if self.pooling == "class" and not self.class_token:
            raise ValueError("pooling class needs class_token true; pooling mean does not")
        if self.quantiser is not None and (
            self.class_token or self.architecture != "vit" or self.decoder_hidden_size % 4
        ):
            raise ValueError(
                "a quantiser needs architecture vit, class_token false with pooling mean, and a "
                "decoder_hidden_size that 4 divides"
            )
        if self.positions == "sinusoidal" and (self.hidden_size % 4 or self.decoder_hidden_size % 4):
            raise ValueError(
                "positions sinusoidal needs hidden_size and decoder_hidden_size that 4 divides; they are "
                f"{self.hidden_size} and {self.decoder_hidden_size}"
            )
        return self

    def _stages_go_together(self) -> None:
        if self.architecture == "vit":
            for name in ("depths", "stage_heads"):
                if getattr(self, name):
                    raise ValueError(f"{name} is for architecture swin; architecture is vit")
            return
        if not self.depths or len(self.depths) != len(self.stage_heads):
            raise ValueError(
                f"architecture swin needs as many stage_heads as depths; there are {len(self.stage_heads)} "
                f"and {len(self.depths)}"
            )
        wanted = {"class_token": False, "pooling": "mean", "positions": "none", "embedding_norm": True}
        for name, value in wanted.items():
            if getattr(self, name) != value:
                raise ValueError(f"architecture swin needs {name} {str(value).lower()}")
        for width, heads in zip(self.widths, self.stage_heads, strict=True):
            if width % heads:
                raise ValueError(f"the width {width} of a stage is not divisible by its stage_heads {heads}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each stage."""
        stages = len(self.depths) if self.architecture == "swin" else 1
        return tuple(self.hidden_size << stage for stage in range(stages))

    @property
    def width(self) -> int:
        """Width of what the tower gives."""
        return self.widths[-1]

    @property
    def depth(self) -> int:
        """Layers of all stages."""
        return sum(self.depths) if self.architecture == "swin" else self.layers

    @property
    def stages(self) -> tuple[ModelConfig, ...]:
        """The transformer layers of each stage of a Swin, as any other model's are described."""
        parts = zip(self.depths, self.widths, self.stage_heads, strict=True)
        return tuple(self._blocks(layers, width, heads, None) for layers, width, heads in parts)

    @property
    def side(self) -> int:
        """Patches along a side of an image."""
        return self.image_size // self.patch_size

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return self.side**2

    @property
    def patch_numbers(self) -> int:
        """Numbers of a patch: its pixels' colours."""
        return CHANNELS * self.patch_size**2

    @property
    def tokens(self) -> int:
        """Length of the sequence that the layers see of an image."""
        return self.patches + self.class_token

    @property
    def blocks(self) -> ModelConfig:
        """The transformer layers, as any other model's are described."""
        return self._blocks(self.layers, self.hidden_size, self.heads, self.feed_forward_size)

    @property
    def decoder(self) -> ModelConfig:
        """Those of a masked autoencoder's decoder."""
        return self._blocks(self.decoder_layers, self.decoder_hidden_size, self.decoder_heads, None)

    def _blocks(
        self, layers: int, hidden_size: int, heads: int, feed_forward_size: int | None
    ) -> ModelConfig:
        return ModelConfig(
            architecture="encoder",
            layers=layers,
            hidden_size=hidden_size,
            heads=heads,
            feed_forward_size=feed_forward_size,
            activation=self.activation,
            norm_epsilon=self.norm_epsilon,
            dropout=self.dropout,
            initial_std=self.initial_std,
            initialization="plain",
            language_head=False,
        )

    def check_layout(self, tensor: int, pipeline: int, sequence: bool) -> None:
        """ValueError where a layout does not fit."""
        swin = self.architecture == "swin"
        heads = [("vision.stage_heads", one) for one in self.stage_heads] if swin else []
        split = heads or [("vision.heads", self.heads), ("vision.feed_forward_size", self.blocks.mlp_size)]
        for key, value in split:
            if value % tensor:
                raise ValueError(f"{key} {value} is not divisible by parallel.tensor {tensor}")
        if sequence and swin:
            raise ValueError("parallel.sequence is for vision.architecture vit; a Swin's maps are not shared")
        if sequence and self.tokens % tensor:
            raise ValueError(
                f"parallel.sequence shares {self.tokens} tokens of an image over parallel.tensor {tensor}, "
                "which does not divide them; vision.class_token false has one fewer, with pooling mean"
            )
        if self.depth < pipeline:
            raise ValueError(f"vision.layers {self.depth} is fewer than parallel.pipeline {pipeline}")
