"""Models of every family on both sides: ours with random weights, and transformers' with the same ones."""

from dataclasses import replace
from typing import Any

import torch
import transformers
from torch import Tensor

from pipeline.config import DataConfig, ObjectiveConfig, PipelineConfig
from pipeline.conversion.choose import family_of
from pipeline.conversion.families import GPT2
from pipeline.conversion.family import Facts, Family
from pipeline.conversion.links import Link, exported, links
from pipeline.models.config import ModelConfig
from pipeline.models.initialize import draw

VOCABULARY, LENGTH, BATCH, POSITIONS = 300, 24, 3, 32
FACTS = Facts(VOCABULARY, pad=0, bos=2, eos=3, positions=POSITIONS)
"""300 tokens have 384 rows in our tables, of which 84 must count for nothing."""

MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {"preset": "gpt2-tiny"},
    "opt": {"preset": "opt-tiny"},
    "opt-350m": {"preset": "opt-post-tiny"},
    "bloom": {"preset": "bloom-tiny", "heads": 8},
    "falcon-7b": {"preset": "falcon-tiny"},
    "falcon-40b": {"preset": "falcon-grouped-tiny"},
    "llama": {"preset": "llama-tiny"},
    "llama2": {"preset": "llama2-tiny", "rope_base": 5000.0},
    "bert": {"preset": "bert-tiny"},
    "bert-next-sentence": {"preset": "bert-tiny"},
    "roberta": {"preset": "roberta-tiny"},
    "t5": {"preset": "t5-tiny", "encoder_layers": 3},
    "t5-1.1": {"preset": "t5-1.1-tiny"},
    "bart": {"preset": "bart-tiny"},
    "gpt1": {"preset": "gpt1-tiny"},
    "gpt-neo": {"preset": "gpt3-tiny", "local_window": 5, "scaled_attention": False},
}
OBJECTIVES = {
    "decoder": ObjectiveConfig(),
    "encoder": ObjectiveConfig(kind="masked_lm"),
    "encoder_decoder": ObjectiveConfig(kind="span_corruption"),
}


def config(name: str, **parallel: Any) -> PipelineConfig:
    """The recipe of a reference model; weights are large enough for every part to matter."""
    given = MODELS[name] | {"max_positions": POSITIONS, "initial_std": 0.1, "initialization": "plain"}
    model = ModelConfig(**given)
    objective = OBJECTIVES[model.architecture]
    if name == "bart":
        objective = ObjectiveConfig(kind="denoising")
    if name == "bert-next-sentence":
        objective = ObjectiveConfig(kind="masked_lm", sentence_task="next_sentence")
    return PipelineConfig(
        name=name,
        model=model,
        objective=objective,
        data=DataConfig(sequence_length=LENGTH),
        parallel=parallel,
    )


def weight(name: str, shape: torch.Size) -> Tensor:
    """The whole weight of this name, the same in every layout; norms and biases are drawn too."""
    std = {"relative.weight": 1.0}.get(name.split(".", 1)[-1], 0.1)
    drawn = draw(name, 0, shape, std)
    return drawn + 1 if "norm" in name and name.endswith("weight") else drawn


def facts(given: PipelineConfig) -> Facts:
    """What an exported folder would say."""
    return replace(FACTS, sentence_head=given.objective.sentence_task != "none")


NEO = replace(
    GPT2,
    table=lambda model: (
        GPT2.table(model)
        | {
            "blocks.*.attention.qkv": tuple(
                f"transformer.h.*.attn.attention.{one}_proj" for one in ("q", "k", "v")
            ),
            "blocks.*.attention.output": "transformer.h.*.attn.attention.out_proj",
        }
    ),
    transposed=False,
)
GPT1 = replace(
    GPT2,
    table=lambda model: (
        GPT2.table(model)
        | {"words.table": "transformer.tokens_embed", "positions": "transformer.positions_embed"}
    ),
)
"""Families that are compared and not exported."""


def reference(name: str, given: PipelineConfig) -> tuple[Any, Family]:
    """Transformers' model of the same shape, and the family whose names it has."""
    shape = {
        "n_positions": POSITIONS,
        "n_embd": given.model.hidden_size,
        "n_layer": given.model.layers,
        "n_head": given.model.heads,
    }
    if name == "gpt1":
        settings = transformers.OpenAIGPTConfig(vocab_size=VOCABULARY, **shape)
        return transformers.OpenAIGPTLMHeadModel(settings).eval(), GPT1
    if name == "gpt-neo":
        settings = transformers.GPTNeoConfig(
            vocab_size=VOCABULARY,
            max_position_embeddings=POSITIONS,
            hidden_size=given.model.hidden_size,
            num_layers=given.model.layers,
            num_heads=given.model.heads,
            attention_types=[[["global", "local"], given.model.layers // 2]],
            window_size=given.model.local_window,
        )
        return transformers.GPTNeoForCausalLM(settings).eval(), NEO
    family = family_of(given.model, facts(given))
    written = family.write(given.model, facts(given))
    settings = transformers.AutoConfig.for_model(**written)
    model = getattr(transformers, written["architectures"][0])(settings).eval()
    if not given.model.tied_output:  # a T5 is built tied whatever its configuration says
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    return model, family


def fill(model: Any, the_links: list[Link], weights: dict[str, Tensor]) -> None:
    """Load weights of ours, by name and whole, into transformers' model."""
    translated = dict(exported(the_links, weights))
    silent = {name for name in translated if name.endswith(("q_proj.bias", "k_proj.bias", "v_proj.bias"))}
    there = set(model.state_dict())
    missing, unexpected = model.load_state_dict(
        {name: value for name, value in translated.items() if name in there or name not in silent},
        strict=False,
    )
    assert not unexpected
    if "lm_head.weight" not in translated:
        model.tie_weights()
    tied = set(model.all_tied_weights_keys) | {"final_logits_bias"}
    assert set(missing) <= tied, missing


def inputs(given: PipelineConfig) -> dict[str, Tensor]:
    """A batch with padding at the ends of rows where the architecture has a mask for it."""
    generator = torch.Generator().manual_seed(2)

    def tokens(length: int) -> Tensor:
        return torch.randint(4, VOCABULARY, (BATCH, length), generator=generator)

    real = torch.tensor([LENGTH, LENGTH - 7, LENGTH - 12]).unsqueeze(1)
    padding = (torch.arange(LENGTH) < real).int()
    if given.model.architecture == "encoder":
        found = {"tokens": tokens(LENGTH) * padding, "segments": padding}
        if given.model.token_types > 1:
            found["token_types"] = (torch.arange(LENGTH) > 5).long().expand(BATCH, -1) * padding
        return found
    if given.model.architecture == "encoder_decoder":
        return {
            "tokens": tokens(LENGTH // 2),
            "encoder_tokens": tokens(LENGTH) * padding,
            "encoder_segments": padding,
        }
    return {"tokens": tokens(LENGTH)}


def theirs(model: Any, batch: dict[str, Tensor]) -> Any:
    """The outputs of transformers' model on a batch of ours."""
    names = {
        "tokens": "input_ids",
        "segments": "attention_mask",
        "token_types": "token_type_ids",
    }
    if "encoder_tokens" in batch:
        names = {
            "tokens": "decoder_input_ids",
            "encoder_tokens": "input_ids",
            "encoder_segments": "attention_mask",
        }
    return model(**{names[name]: tensor for name, tensor in batch.items()})


def whole_links(given: PipelineConfig, family: Family, names: list[str]) -> list[Link]:
    """The links of a reference model."""
    return links(family, given.model, facts(given), names)
