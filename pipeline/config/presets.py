"""Published models as values of the recipe's `model` section: their sizes, parts and initial weights.

    model: {preset: llama2-7b}                     the model as published
    model: {preset: gpt2-124m, dropout: 0.1}       further keys override the preset's

Each family also has a `-tiny` size with the same parts for tests. Dropout differs by run and is left at 0.
Where a paper contradicts itself, the values of its own parameter count are taken: GPT-3's table 2.1 has
24 heads of 128 at 1.3B and a width of 5140 at 13B, its table D.1 counts 16 heads and a width of 5120.
Gopher and Chinchilla are in chinchilla.py, with what they have that no model here has; models of 2023 and
later are in open_models.py. Minerva is PaLM trained further. PaLM 2 has no presets: of its three
sizes, S, M and L, Anil et al. 2023 publish that they are Transformers trained on a mixture of objectives like
UL2's, and that L is much smaller than PaLM's largest and took more compute; neither parameters nor shapes.
Of Parti's encoder-decoders Yu et al. 2022, table 1, publish layers, widths and heads. Norms, activations,
biases and positions are not, nor what is counted: here they are GPT-2's, and with 16,000 pieces and 8,192
codes the models called 350M and 750M have 380 and 783 million parameters. Their sparse attention is left out.
Of Gato's decoders layers, widths and heads are taken from Reed et al. 2022, all else is GPT-2's: with 32,000
pieces the models called 79M, 364M and 1.18B have 83, 392 and 1,278 million parameters before their patches'.
"""

import math

from data_prep.contract.problems import did_you_mean
from pipeline.config import chinchilla, open_models
from pipeline.config.sizes import LLAMA, TINY, Values, sized

# What the sizes of a family have in common.
GPT1: Values = {"norm_placement": "post", "initialization": "plain", "max_positions": 512}
GPT2: Values = {"max_positions": 1024}
GPT3: Values = {"max_positions": 2048, "local_window": 128}
MT_NLG: Values = {"max_positions": 2048}
OPT: Values = {"max_positions": 2048, "activation": "relu"}
BLOOM: Values = {"positions": "alibi", "embedding_norm": True}
PALM: Values = {
    "positions": "rope",
    "activation": "swiglu",
    "parallel_block": "one_norm",
    "key_value_heads": 1,
    "norm_bias": False,
    "bias": False,
}
GALACTICA: Values = {"max_positions": 2048, "activation": "gelu", "bias": False, "norm_bias": False}
FALCON: Values = {"positions": "rope", "activation": "gelu", "bias": False}
LLAMA2: Values = LLAMA | {"norm_epsilon": 1e-5}
ROBERTA: Values = {
    "architecture": "encoder",
    "norm_placement": "post",
    "norm_epsilon": 1e-5,
    "embedding_norm": True,
    "activation": "gelu",
    "token_types": 1,
    "initialization": "plain",
    "max_positions": 512,
}
BERT: Values = ROBERTA | {"token_types": 2, "norm_epsilon": 1e-12}
DISTILBERT: Values = BERT | {"token_types": 0}
ALBERT: Values = BERT | {"activation": "gelu_tanh", "shared_layers": True, "word_size_of": "embeddings"}
ELECTRA: Values = BERT | {"word_size_of": "embeddings"}
T5: Values = {
    "architecture": "encoder_decoder",
    "positions": "relative",
    "norm": "rmsnorm",
    "norm_epsilon": 1e-6,
    "activation": "relu",
    "scaled_attention": False,
    "bias": False,
    "initialization": "t5",
}
T5_1_1: Values = T5 | {"activation": "geglu", "tied_output": False}
SWITCH: Values = T5 | {"initialization": "switch"}
TRANSFORMER: Values = {
    "architecture": "encoder_decoder",
    "norm_placement": "post",
    "positions": "sinusoidal",
    "activation": "relu",
    "initialization": "plain",
}
BART: Values = {
    "architecture": "encoder_decoder",
    "norm_placement": "post",
    "embedding_norm": True,
    "activation": "gelu",
    "initialization": "plain",
    "max_positions": 1024,
}

PARTI: Values = {"architecture": "encoder_decoder", "activation": "gelu", "max_positions": 1024}
CLIP_TEXT: Values = {"activation": "quick_gelu", "max_positions": 77, "initialization": "plain"}


def tied_t5(layers: int, hidden_size: int, heads: int, feed_forward_size: int, **more: int) -> Values:
    """T5 1.0, which shares its words with the output head, scaled by the width's root."""
    scale = {"logit_scale": hidden_size**-0.5, "feed_forward_size": feed_forward_size}
    return T5 | sized(layers, hidden_size, heads, **scale) | more


def switched(count: int, every: int = 2) -> Values:
    """Experts as the Switch Transformer has them (Fedus et al. 2022, sections 2.1 to 2.4)."""
    capacity = {"capacity_factor": 1.25, "eval_capacity_factor": 2.0, "jitter": 0.01}
    return {"experts": {"count": count, "active": 1, "normalise": False, "every": every} | capacity}


def switch_base(count: int) -> Values:
    """The released sizes of the base model, which differ in their experts and do not share words with the
    output head."""
    return SWITCH | sized(12, 768, 12, feed_forward_size=3072, tied_output=False) | switched(count)


def transformer(layers: int, hidden_size: int, heads: int) -> Values:
    """The Transformer, whose words are as large as the sinusoids that are added to them."""
    scale = {"embedding_scale": math.sqrt(hidden_size), "initial_std": hidden_size**-0.5}
    return TRANSFORMER | sized(layers, hidden_size, heads, **scale)


def palm(layers: int, hidden_size: int, heads: int, head_size: int = 256) -> Values:
    """PaLM, whose heads do not fill the width at 540B."""
    return PALM | sized(layers, hidden_size, heads, head_size=head_size, logit_scale=hidden_size**-0.5)


def parti(encoder_layers: int, layers: int, hidden_size: int, heads: int) -> Values:
    """Parti, whose decoders may be deeper than their encoders."""
    return PARTI | sized(layers, hidden_size, heads, encoder_layers=encoder_layers)


PRESETS: dict[str, Values] = {
    # Radford et al. 2018
    "gpt1-117m": GPT1 | sized(12, 768, 12),
    "gpt1-tiny": GPT1 | TINY,
    # Radford et al. 2019
    "gpt2-124m": GPT2 | sized(12, 768, 12),
    "gpt2-355m": GPT2 | sized(24, 1024, 16),
    "gpt2-774m": GPT2 | sized(36, 1280, 20),
    "gpt2-1.5b": GPT2 | sized(48, 1600, 25),
    "gpt2-tiny": GPT2 | TINY,
    # Brown et al. 2020, tables 2.1 and D.1
    "gpt3-125m": GPT3 | sized(12, 768, 12),
    "gpt3-350m": GPT3 | sized(24, 1024, 16),
    "gpt3-760m": GPT3 | sized(24, 1536, 16),
    "gpt3-1.3b": GPT3 | sized(24, 2048, 16),
    "gpt3-2.7b": GPT3 | sized(32, 2560, 32),
    "gpt3-6.7b": GPT3 | sized(32, 4096, 32),
    "gpt3-13b": GPT3 | sized(40, 5120, 40),
    "gpt3-175b": GPT3 | sized(96, 12288, 96),
    "gpt3-tiny": GPT3 | TINY | {"local_window": 8},
    # Smith et al. 2022, section 2.3
    "mt-nlg-530b": MT_NLG | sized(105, 20480, 128),
    "mt-nlg-tiny": MT_NLG | TINY,
    # Zhang et al. 2022, table 1; the 350M model is post-norm with a narrower word table
    "opt-125m": OPT | sized(12, 768, 12),
    "opt-350m": OPT | sized(24, 1024, 16, norm_placement="post", word_size=512),
    "opt-1.3b": OPT | sized(24, 2048, 32),
    "opt-2.7b": OPT | sized(32, 2560, 32),
    "opt-6.7b": OPT | sized(32, 4096, 32),
    "opt-13b": OPT | sized(40, 5120, 40),
    "opt-30b": OPT | sized(48, 7168, 56),
    "opt-66b": OPT | sized(64, 9216, 72),
    "opt-175b": OPT | sized(96, 12288, 96),
    "opt-tiny": OPT | TINY,
    "opt-post-tiny": OPT | TINY | {"norm_placement": "post", "word_size": 48},
    # BigScience 2022, table 3
    "bloom-560m": BLOOM | sized(24, 1024, 16),
    "bloom-1.1b": BLOOM | sized(24, 1536, 16),
    "bloom-1.7b": BLOOM | sized(24, 2048, 16),
    "bloom-3b": BLOOM | sized(30, 2560, 32),
    "bloom-7.1b": BLOOM | sized(30, 4096, 32),
    "bloom-176b": BLOOM | sized(70, 14336, 112),
    "bloom-tiny": BLOOM | TINY,
    # Chowdhery et al. 2022, table 1
    "palm-8b": palm(32, 4096, 16),
    "palm-62b": palm(64, 8192, 32),
    "palm-540b": palm(118, 18432, 48),
    "palm-tiny": palm(2, 64, 4, head_size=24),
    # Lewkowycz et al. 2022, section 2.2: PaLM, trained further
    "minerva-8b": palm(32, 4096, 16),
    "minerva-62b": palm(64, 8192, 32),
    "minerva-540b": palm(118, 18432, 48),
    "minerva-tiny": palm(2, 64, 4, head_size=24),
    # Taylor et al. 2022, table 5
    "galactica-125m": GALACTICA | sized(12, 768, 12),
    "galactica-1.3b": GALACTICA | sized(24, 2048, 32),
    "galactica-6.7b": GALACTICA | sized(32, 4096, 32),
    "galactica-30b": GALACTICA | sized(48, 7168, 56),
    "galactica-120b": GALACTICA | sized(96, 10240, 80),
    "galactica-tiny": GALACTICA | TINY,
    **chinchilla.PRESETS,
    # Almazrouei et al. 2023
    "falcon-7b": FALCON | sized(32, 4544, 71, key_value_heads=1, parallel_block="one_norm"),
    "falcon-40b": FALCON | sized(60, 8192, 128, key_value_heads=8, parallel_block="two_norms"),
    "falcon-180b": FALCON | sized(80, 14848, 232, key_value_heads=8, parallel_block="two_norms"),
    "falcon-tiny": FALCON | TINY | {"key_value_heads": 1, "parallel_block": "one_norm"},
    "falcon-grouped-tiny": FALCON | TINY | {"key_value_heads": 2, "parallel_block": "two_norms"},
    # Touvron et al. 2023, table 2
    "llama-7b": LLAMA | sized(32, 4096, 32, feed_forward_size=11008),
    "llama-13b": LLAMA | sized(40, 5120, 40, feed_forward_size=13824),
    "llama-33b": LLAMA | sized(60, 6656, 52, feed_forward_size=17920),
    "llama-65b": LLAMA | sized(80, 8192, 64, feed_forward_size=22016),
    "llama-tiny": LLAMA | TINY | {"feed_forward_size": 96},
    # Touvron et al. 2023 (Llama 2), table 1 and appendix A.2.1
    "llama2-7b": LLAMA2 | sized(32, 4096, 32, feed_forward_size=11008),
    "llama2-13b": LLAMA2 | sized(40, 5120, 40, feed_forward_size=13824),
    "llama2-70b": LLAMA2 | sized(80, 8192, 64, key_value_heads=8, feed_forward_size=28672),
    "llama2-tiny": LLAMA2 | TINY | {"key_value_heads": 2, "feed_forward_size": 96},
    **open_models.PRESETS,
    # Devlin et al. 2019
    "bert-base": BERT | sized(12, 768, 12),
    "bert-large": BERT | sized(24, 1024, 16),
    "bert-tiny": BERT | TINY,
    # Liu et al. 2019
    "roberta-base": ROBERTA | sized(12, 768, 12),
    "roberta-large": ROBERTA | sized(24, 1024, 16),
    "roberta-tiny": ROBERTA | TINY,
    # Sanh et al. 2019
    "distilbert-base": DISTILBERT | sized(6, 768, 12),
    "distilbert-tiny": DISTILBERT | TINY,
    # Lan et al. 2020, table 1
    "albert-base": ALBERT | sized(12, 768, 12, word_size=128),
    "albert-large": ALBERT | sized(24, 1024, 16, word_size=128),
    "albert-xlarge": ALBERT | sized(24, 2048, 16, word_size=128),
    "albert-xxlarge": ALBERT | sized(12, 4096, 64, word_size=128),
    "albert-tiny": ALBERT | TINY | {"word_size": 24},
    # Clark et al. 2020, table 6: the discriminators; objective.generator_share is 1/4, of the base model 1/3
    "electra-small": ELECTRA | sized(12, 256, 4, word_size=128),
    "electra-base": BERT | sized(12, 768, 12),
    "electra-large": BERT | sized(24, 1024, 16),
    "electra-tiny": ELECTRA | TINY | {"word_size": 24},
    # Raffel et al. 2020, section 3.7
    "t5-small": tied_t5(6, 512, 8, 2048),
    "t5-base": tied_t5(12, 768, 12, 3072),
    "t5-large": tied_t5(24, 1024, 16, 4096),
    "t5-3b": tied_t5(24, 1024, 32, 16384, head_size=128),
    "t5-11b": tied_t5(24, 1024, 128, 65536, head_size=128),
    "t5-tiny": tied_t5(2, 64, 4, 128),
    # the same authors' release 1.1, after Shazeer 2020
    "t5-1.1-small": T5_1_1 | sized(8, 512, 6, head_size=64, feed_forward_size=1024),
    "t5-1.1-base": T5_1_1 | sized(12, 768, 12, feed_forward_size=2048),
    "t5-1.1-large": T5_1_1 | sized(24, 1024, 16, feed_forward_size=2816),
    "t5-1.1-xl": T5_1_1 | sized(24, 2048, 32, feed_forward_size=5120),
    "t5-1.1-xxl": T5_1_1 | sized(24, 4096, 64, feed_forward_size=10240),
    "t5-1.1-tiny": T5_1_1 | TINY | {"feed_forward_size": 96},
    # Fedus et al. 2022, table 9, by the number of experts; those of the base and large model as released
    **{f"switch-base-{count}": switch_base(count) for count in (8, 16, 32, 64, 128, 256)},
    "switch-large-128": SWITCH
    | sized(24, 1024, 16, feed_forward_size=4096, tied_output=False)
    | switched(128),
    "switch-xxl-128": SWITCH
    | sized(24, 4096, 64, feed_forward_size=10240, activation="geglu", tied_output=False)
    | switched(128),
    "switch-c-2048": SWITCH
    | sized(15, 2080, 32, head_size=64, feed_forward_size=6144, tied_output=False)
    | switched(2048, every=1),
    "switch-tiny": SWITCH | TINY | {"feed_forward_size": 96, "tied_output": False} | switched(4),
    # Vaswani et al. 2017, table 3; layers are those of the encoder and of the decoder
    "transformer-base": transformer(6, 512, 8),
    "transformer-big": transformer(6, 1024, 16),
    "transformer-tiny": transformer(2, 64, 4),
    # Lewis et al. 2020; layers are those of the encoder and of the decoder
    "bart-base": BART | sized(6, 768, 12),
    "bart-large": BART | sized(12, 1024, 16),
    "bart-tiny": BART | TINY,
    # Yu et al. 2022, table 1; the tokens are those of the preset vit-vqgan-small of `vision`
    "parti-350m": parti(12, 12, 1024, 16),
    "parti-750m": parti(12, 36, 1024, 16),
    "parti-3b": parti(12, 36, 2048, 32),
    "parti-20b": parti(16, 64, 4096, 64),
    "parti-tiny": PARTI | TINY | {"max_positions": 64},
    # Reed et al. 2022; a stage of kind pretrain_agent adds what embeds patches, and places in a step
    "gato-79m": GPT2 | sized(8, 768, 24),
    "gato-364m": GPT2 | sized(12, 1536, 12),
    "gato-1.18b": GPT2 | sized(24, 2048, 16),
    "gato-tiny": GPT2 | TINY,
    # Radford et al. 2021, table 20: the text towers beside the image towers B and L of `vision`
    "clip-text-b": CLIP_TEXT | sized(12, 512, 8),
    "clip-text-l": CLIP_TEXT | sized(12, 768, 12),
    "clip-text-tiny": CLIP_TEXT | TINY,
}


def suggestion(name: str) -> str:
    """What to say after a name that no preset has."""
    return did_you_mean(name, PRESETS) or f"; there are {', '.join(PRESETS)}"
