"""The recipe's `model` section: what a transformer is made of. A family is a set of values of these keys."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from data_prep.contract.settings import Settings
from pipeline.config.experts import Experts
from pipeline.config.presets import PRESETS, suggestion
from pipeline.config.rope import RopeScaling

GATED = {"swiglu", "geglu", "geglu_exact"}
"""Activations that multiply two projections, so that the MLP has three matrices."""


MOST_LAYERS, MOST_WIDTH = 10_000, 2_000_000
"""Bounds of what is taken for meant: the largest published models have 126 layers and a width of 20,480."""
MOST_POSITIONS = 1 << 31
Layers = Annotated[int, Field(ge=1, le=MOST_LAYERS)]
Width = Annotated[int, Field(ge=1, le=MOST_WIDTH)]


class ModelConfig(Settings):
    # What a model may read beyond its training, and how it is asked, change no number of a training.
    renamed: ClassVar[Mapping[str, str]] = {"query_groups": "key_value_heads"}
    not_in_fingerprint: ClassVar[frozenset[str]] = frozenset({"answers", "context_length"})
    later: ClassVar[frozenset[str]] = frozenset(
        {
            "answers",
            "attention_dropout",
            "attention_scalar",
            "attention_softcap",
            "context_length",
            "embedding_scale",
            "experts",
            "first_norm",
            "language_head",
            "layer_pattern",
            "local_rope_base",
            "logit_softcap",
            "norm_offset",
            "pooler",
            "qk_norm",
            "qkv_bias",
            "rope_scaling",
            "rope_share",
            "shared_layers",
            "unrotated_every",
            "word_size_of",
        }
    )

    preset: str | None = None
    """A published model, such as gpt2-124m: it gives every key of this section that the recipe leaves out."""
    architecture: Literal["decoder", "encoder", "encoder_decoder"] = "decoder"
    """Decoder alone (GPT, Llama), encoder alone (BERT), or both (T5, BART)."""
    layers: Layers = 4
    """Number of transformer layers; of the decoder, where there is an encoder too."""
    encoder_layers: Layers | None = None
    """Layers of the encoder in front of a decoder; null has as many as the decoder."""
    hidden_size: Width = 256
    """Width of the residual stream."""
    shared_layers: bool = False
    """Whether all layers have the same weights (ALBERT)."""
    word_size: Width | None = None
    """Width of the word table where it differs; projected to hidden_size and back (OPT 350M)."""
    word_size_of: Literal["words", "embeddings"] = "words"
    """What is word_size wide: the words alone, or also positions, types and their norm, which are projected
    with a bias, and what the head makes of hidden states (ALBERT, ELECTRA)."""
    heads: Width = 4
    """Number of attention heads."""
    head_size: Width | None = None
    """Width of one head; null is hidden_size / heads."""
    key_value_heads: Width | None = None
    """Number of key and value heads (grouped queries; 1 is multi-query); null gives every head its own."""
    feed_forward_size: Width | None = None
    """Width inside the MLP; null is 4 times hidden_size."""
    activation: Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "swiglu", "geglu", "geglu_exact"] = (
        "gelu_tanh"
    )
    """Nonlinearity of the MLP: exact GELU, its tanh form or its sigmoid form (CLIP), ReLU, or gated by SiLU
    or either GELU."""
    experts: Experts | None = None
    """Several MLPs a layer, of which each token goes through a few (Mixtral, OLMoE); null has one."""
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    """Kind of normalisation."""
    norm_bias: bool = True
    """Whether layernorm has a bias; PaLM's has none."""
    norm_offset: bool = False
    """Whether the weights of rmsnorm are counted from one, so that decay draws them there (Gemma)."""
    norm_placement: Literal["pre", "post", "branch", "both"] = "pre"
    """Before each branch (GPT-2), after each residual sum (GPT-1, BERT), on what each branch gives (OLMo 2),
    or before and on it (Gemma 2). All but post have one more at the end."""
    first_norm: bool = True
    """Whether the first layer's attention has a norm before it; ModernBERT's has that of the embeddings."""
    norm_epsilon: PositiveFloat = 1e-5
    """Added to the variance in normalisation."""
    embedding_scale: PositiveFloat = 1.0
    """Factor on the word embeddings; Gemma and the Transformer of 2017 have sqrt(hidden_size)."""
    embedding_norm: bool = False
    """Whether the embeddings are normalised (BERT, BART, BLOOM)."""
    parallel_block: Literal["none", "one_norm", "two_norms"] = "none"
    """Attention and MLP side by side, under one norm (PaLM, Falcon 7B) or under two (Falcon 40B)."""
    positions: Literal["learned", "sinusoidal", "rope", "alibi", "relative"] = "learned"
    """Learned absolute positions, sines and cosines of them (the Transformer of 2017), rotary ones (Llama),
    ALiBi's slopes (BLOOM), or T5's relative buckets."""
    max_positions: Annotated[int, Field(ge=1, le=2**31)] | None = None
    """Length of the table of learned positions, in tokens; null is data.sequence_length."""
    rope_base: PositiveFloat = 10_000.0
    """Base of the rotary angles."""
    local_rope_base: PositiveFloat | None = None
    """The same of local layers, which are not stretched (Gemma 3); null is that of the others."""
    rope_share: float = Field(1.0, gt=0.0, le=1.0)
    """Share of each head that is turned by its position; the rest is as it is (GPT-NeoX has a quarter)."""
    unrotated_every: Width | None = None
    """Every so manieth layer has no rotary positions (SmolLM3's fourth); null rotates in all."""
    rope_scaling: RopeScaling | None = None
    """How rotary positions are stretched past the length first trained on; null leaves them as they are."""
    context_length: Annotated[int, Field(ge=1, le=MOST_POSITIONS)] | None = None
    """Most tokens that an imported model can read, where that is more than data.sequence_length."""
    answers: bool = False
    """Whether an imported model was tuned here before, so that it goes out with our chat template."""
    relative_buckets: Width = 32
    """Buckets of relative positions; half of them for either side in an encoder."""
    relative_distance: Width = 128
    """Distance in tokens beyond which relative positions share the last bucket."""
    local_window: Width | None = None
    """Local layers see so many last tokens, an encoder's half of them on either side; null sees all."""
    layer_pattern: Annotated[tuple[Literal["global", "local"], ...], Field(min_length=1, max_length=64)] = (
        "global",
        "local",
    )
    """Which layers see local_window tokens, repeated over the stack: every second in GPT-3."""
    token_types: Annotated[int, Field(ge=0, le=MOST_WIDTH)] = 0
    """Rows of the table of token types (BERT 2, RoBERTa 1); 0 has none."""
    scaled_attention: bool = True
    """Whether attention scores are divided by the square root of the head size; T5's are not."""
    attention_scalar: PositiveFloat | None = None
    """What scores are divided by the square root of, where it is not the head size (Gemma 2 27B)."""
    attention_softcap: PositiveFloat | None = None
    """Bound that scores approach as x -> cap tanh(x / cap) (Gemma 2); null has none."""
    qk_norm: Literal["none", "head", "width"] = "none"
    """RMS norm of queries and keys, by head (Qwen 3, Gemma 3) or over all heads at once (OLMo 2)."""
    bias: bool = True
    """Whether linear layers have biases."""
    qkv_bias: bool | None = None
    """Whether queries, keys and values have biases, where that differs (Qwen 2); null is bias."""
    tied_output: bool = True
    """Whether the output head shares the word embedding's weights."""
    logit_scale: PositiveFloat = 1.0
    """Factor on what the output head sees; T5 1.0 and PaLM have 1 / sqrt(hidden_size)."""
    logit_softcap: PositiveFloat | None = None
    """The same bound of logits (Gemma 2); null has none."""
    language_head: bool = True
    """Whether an encoder predicts words; false is a bare one, whose outputs are its hidden states."""
    pooler: bool = False
    """Whether a bare encoder has BERT's pooled first token too."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Dropout probability on embeddings, attention and residual branches."""
    attention_dropout: float | None = Field(None, ge=0.0, lt=1.0)
    """Dropout probability on attention where it differs (fairseq's Transformer has 0.1 beside 0.3); null is
    dropout."""
    initial_std: PositiveFloat = 0.02
    """Standard deviation of initial weights."""
    initialization: Literal["scaled", "plain", "t5", "switch"] = "scaled"
    """Projections into the stream get 1/sqrt(2 layers) of initial_std (GPT-2), or all, or T5's rule, or that
    of the Switch Transformer: T5's with a tenth of the variance inside the layers."""
    mimetic: bool = False
    """Start as training ends: heads with relative positions look near, cross-attention where words agree."""

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        given = cls.with_new_names(given)
        if not isinstance(given, dict) or given.get("preset") is None:
            return given
        if given["preset"] not in PRESETS:
            raise ValueError(f"no preset is called {given['preset']}{suggestion(str(given['preset']))}")
        return PRESETS[given["preset"]] | given

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.head_size is None and self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not divisible by heads {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not divisible by key_value_heads {self.kv_heads}")
        if self.positions == "sinusoidal" and self.hidden_size % 2:
            raise ValueError(f"positions sinusoidal needs an even hidden_size; it is {self.hidden_size}")
        if self.positions == "rope" and self.head_width % 2:
            raise ValueError(f"positions rope turns pairs, and a head of {self.head_width} has an odd size")
        if self.rope_scaling and self.positions != "rope":
            raise ValueError(f"rope_scaling is for positions rope; positions is {self.positions}")
        if self.rope_scaling and self.rope_scaling.kind == "dynamic" and self.head_width <= 2:
            raise ValueError("rope_scaling.kind dynamic needs heads of more than 2")
        if not self.language_head and self.architecture != "encoder":
            raise ValueError("language_head false is for architecture encoder")
        if self.pooler and self.language_head:
            raise ValueError("pooler is for language_head false; objective.sentence_task has its own")
        self._goes_with_architecture()
        self._norms_go_together()
        self._experts_go_together()
        self._sharing_goes_together()
        if self.positions == "relative" and self.local_window is not None:
            raise ValueError(f"local_window {self.local_window} does not go with positions relative")
        self._buckets_go_together()
        if self.mimetic and self.positions != "relative" and self.architecture != "encoder_decoder":
            raise ValueError("mimetic is for positions relative and for architecture encoder_decoder")
        for name, off in (("local_rope_base", None), ("rope_share", 1.0), ("unrotated_every", None)):
            if self.positions != "rope" and getattr(self, name) != off:
                raise ValueError(f"{name} is for positions rope; positions is {self.positions}")
        if self.positions == "rope" and (self.rotated_width < 2 or self.rotated_width % 2):
            raise ValueError(f"rope_share {self.rope_share} turns {self.rotated_width} of {self.head_width}")
        return self

    def _goes_with_architecture(self) -> None:
        if self.architecture != "decoder" and self.parallel_block != "none":
            raise ValueError(f"parallel_block {self.parallel_block} is for architecture decoder")
        if self.architecture != "decoder" and self.positions == "alibi":
            raise ValueError("positions alibi counts backwards, which goes with architecture decoder alone")
        if self.architecture == "encoder_decoder" and self.local_window is not None:
            raise ValueError(f"local_window {self.local_window} is for architecture decoder or encoder")
        if self.encoder_layers is not None and self.architecture != "encoder_decoder":
            raise ValueError(
                "encoder_layers is for architecture encoder_decoder; layers counts those of others"
            )
        if self.token_types and self.architecture != "encoder":
            raise ValueError("token_types is for architecture encoder")

    def _buckets_go_together(self) -> None:
        """Each near offset has a bucket of its own; the far ones share the others by their logarithm."""
        if self.positions != "relative":
            return
        exact = self.relative_buckets // (2 if self.architecture == "decoder" else 4)
        if exact < 1:
            raise ValueError(f"relative_buckets {self.relative_buckets} is too few; T5 has 32")
        exact = self.relative_buckets // (4 if self.architecture == "encoder" else 2)
        if self.relative_distance <= exact:
            raise ValueError(
                f"relative_distance {self.relative_distance} is not beyond the {exact} offsets that "
                f"{self.relative_buckets} relative_buckets tell one by one"
            )

    def _norms_go_together(self) -> None:
        if self.norm_placement != "pre" and self.parallel_block != "none":
            raise ValueError(f"parallel_block {self.parallel_block} needs norm_placement pre")
        if self.norm_offset and self.norm != "rmsnorm":
            raise ValueError(f"norm_offset is for norm rmsnorm; norm is {self.norm}")
        if not self.first_norm and (self.norm_placement != "pre" or self.parallel_block != "none"):
            raise ValueError("first_norm false needs norm_placement pre and parallel_block none")
        if self.qk_norm == "width" and self.kv_heads == 1 < self.heads:
            raise ValueError("qk_norm width needs more than one of key_value_heads; qk_norm head does not")
        if self.architecture == "encoder_decoder" and self.qk_norm != "none":
            raise ValueError(f"qk_norm {self.qk_norm} is for architecture decoder or encoder")

    def _experts_go_together(self) -> None:
        if self.experts is None:
            return
        if self.architecture == "encoder":
            raise ValueError("experts need architecture decoder or encoder_decoder; it is encoder")
        for name, wanted in (("parallel_block", "none"), ("bias", False)):
            if getattr(self, name) != wanted:
                raise ValueError(f"experts need {name} {str(wanted).lower()}; it is {getattr(self, name)}")
        if self.experts.every > 1 and self.layers < 2:
            raise ValueError(f"experts.every {self.experts.every} begins with the second of the layers")

    def _sharing_goes_together(self) -> None:
        if self.word_size_of == "embeddings":
            if self.word_size is None or self.architecture != "encoder":
                raise ValueError("word_size_of embeddings is for architecture encoder and a word_size")
            if self.positions not in ("learned", "rope", "relative"):
                raise ValueError(f"word_size_of embeddings does not go with positions {self.positions}")
        if not self.shared_layers:
            return
        if self.architecture == "encoder_decoder":
            raise ValueError("shared_layers is for one stack; architecture is encoder_decoder")
        alike = {"local_window": None, "unrotated_every": None, "first_norm": True, "experts": None}
        for name, wanted in alike.items():
            if getattr(self, name) != wanted:
                raise ValueError(f"shared_layers needs layers that are alike, and {name} makes them differ")

    @property
    def embedding_width(self) -> int:
        """Width of the sum of the embeddings of words, positions and types."""
        narrow = self.word_size if self.word_size_of == "embeddings" else None
        return narrow or self.hidden_size

    @property
    def attention_drop(self) -> float:
        """Dropout probability on attention."""
        return self.dropout if self.attention_dropout is None else self.attention_dropout

    @property
    def head_width(self) -> int:
        return self.head_size or self.hidden_size // self.heads

    @property
    def kv_heads(self) -> int:
        return self.key_value_heads or self.heads

    @property
    def mlp_size(self) -> int:
        return self.feed_forward_size or 4 * self.hidden_size

    @property
    def has_qkv_bias(self) -> bool:
        """Whether queries, keys and values have biases."""
        return self.bias if self.qkv_bias is None else self.qkv_bias

    @property
    def rotated_width(self) -> int:
        """Numbers of each head that rotary positions turn."""
        return int(self.head_width * self.rope_share)

    def is_local(self, layer: int) -> bool:
        """Whether a layer of the main stack sees `local_window` tokens alone."""
        kind = self.layer_pattern[layer % len(self.layer_pattern)]
        return self.local_window is not None and kind == "local"

    def has_experts(self, layer: int) -> bool:
        """Whether a layer of a stack has several MLPs, of which tokens go through a few."""
        return self.experts is not None and self.experts.in_layer(layer)

    def expert_layers(self, layers: int) -> int:
        """How many of a stack's first so many layers have experts."""
        return sum(self.has_experts(layer) for layer in range(layers)) if self.experts else 0

    def is_rotated(self, layer: int) -> bool:
        """Whether queries and keys of a layer of the main stack are turned by their positions."""
        unturned = self.unrotated_every is not None and (layer + 1) % self.unrotated_every == 0
        return self.positions == "rope" and not unturned

    @property
    def gated(self) -> bool:
        return self.activation in GATED

    @property
    def encoder_depth(self) -> int:
        """Layers of the encoder in front of a decoder, 0 where there is none."""
        return (self.encoder_layers or self.layers) if self.architecture == "encoder_decoder" else 0
