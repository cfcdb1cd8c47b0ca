"""Models of every family on both sides: ours with random weights, and transformers' with the same ones."""

from dataclasses import replace
from functools import reduce
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

from pipeline.config import DataConfig, ModelConfig, ObjectiveConfig, PipelineConfig
from pipeline.conversion.choose import family_of
from pipeline.conversion.families.decoders import GPT2
from pipeline.conversion.family import Facts, Family
from pipeline.conversion.links import Link, exported, links
from pipeline.conversion.skeleton import shapes
from pipeline.models.initialize import draw

VOCABULARY, LENGTH, BATCH, POSITIONS = 300, 24, 3, 32
FACTS = Facts(VOCABULARY, pad=0, bos=2, eos=3, positions=POSITIONS)
"""300 tokens have 384 rows in our tables, of which 84 must count for nothing."""

COMPUTED = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")
"""A Marian's sines and cosines."""


def experts(count: int, active: int, normalise: bool = True) -> dict[str, Any]:
    """Experts whose load is left to itself."""
    return {"experts": {"count": count, "active": active, "normalise": normalise, "balance": 0.0}}


def switched(capacity: int) -> dict[str, Any]:
    """Switch layers whose experts take so many tokens of a sequence."""
    routing = {"count": 4, "active": 1, "normalise": False, "every": 2, "capacity": capacity}
    return {"experts": routing | {"balance": 0.0}}


MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {"preset": "gpt2-tiny"},
    "opt": {"preset": "opt-tiny"},
    "opt-350m": {"preset": "opt-post-tiny"},
    "bloom": {"preset": "bloom-tiny", "heads": 8},
    "falcon-7b": {"preset": "falcon-tiny"},
    "falcon-40b": {"preset": "falcon-grouped-tiny"},
    "llama": {"preset": "llama-tiny"},
    "llama2": {"preset": "llama2-tiny", "rope_base": 5000.0},
    "pythia": {"preset": "pythia-tiny"},
    "pythia-in-turn": {"preset": "pythia-tiny", "parallel_block": "none", "rope_share": 0.5},
    "mistral": {"preset": "mistral-tiny"},
    "llama3": {"preset": "llama3.2-tiny"},
    "qwen2": {"preset": "qwen2-tiny"},
    "qwen3": {"preset": "qwen3-tiny"},
    "olmo2": {"preset": "olmo2-tiny"},
    "gemma2": {"preset": "gemma2-tiny"},
    "gemma3": {"preset": "gemma3-tiny", "rope_scaling": {"kind": "linear", "factor": 8.0}},
    "smollm3": {"preset": "smollm3-tiny"},
    "mixtral": {"preset": "mixtral-tiny", "local_window": 8, "layer_pattern": ["local"], **experts(4, 2)},
    "olmoe": {"preset": "olmoe-tiny", **experts(4, 2, normalise=False)},
    "qwen3-moe": {"preset": "qwen3-moe-tiny", **experts(6, 3)},
    "transformer": {"preset": "transformer-tiny"},
    "modernbert": {"preset": "modernbert-tiny", "layers": 3},
    "bert": {"preset": "bert-tiny"},
    "bert-next-sentence": {"preset": "bert-tiny"},
    "distilbert": {"preset": "distilbert-tiny", "layers": 3},
    "albert": {"preset": "albert-tiny"},
    "albert-sentence-order": {"preset": "albert-tiny", "layers": 3},
    "roberta": {"preset": "roberta-tiny"},
    "t5": {"preset": "t5-tiny", "encoder_layers": 3},
    "t5-1.1": {"preset": "t5-1.1-tiny", "mimetic": True},
    "switch": {"preset": "switch-tiny", "layers": 4, **switched(3)},
    "switch-tied": {"preset": "switch-tiny", "tied_output": True, "logit_scale": 64**-0.5, **switched(5)},
    "bart": {"preset": "bart-tiny"},
    "gpt1": {"preset": "gpt1-tiny"},
    "gpt-neo": {"preset": "gpt3-tiny", "local_window": 5, "scaled_attention": False},
}
SENTENCE_TASKS = {"bert-next-sentence": "next_sentence", "albert-sentence-order": "sentence_order"}
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
    if name in SENTENCE_TASKS:
        objective = ObjectiveConfig(kind="masked_lm", sentence_task=SENTENCE_TASKS[name])
    return PipelineConfig(
        name=name,
        model=model,
        objective=objective,
        data=DataConfig(sequence_length=LENGTH),
        parallel=parallel,
    )


def weight(path: str, shape: torch.Size, name: str = "") -> Tensor:
    """The whole weight of this path, the same in every layout; norms and biases are drawn too."""
    if name == "gpt-neo" and path.endswith("qkv.bias"):
        return torch.zeros(shape)  # it has none
    drawn = draw(path, 0, shape, 1.0 if path.endswith("relative.weight") else 0.1)
    return drawn + 1 if "norm" in path and path.endswith("weight") else drawn


def weights(name: str) -> dict[str, Tensor]:
    """Every whole weight of a model by its path."""
    found = shapes(config(name), VOCABULARY)
    return {path: weight(path, torch.Size(shape), name) for path, shape in found.items()}


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


def family(name: str) -> Family:
    """The family whose names a reference model has."""
    given = config(name)
    return {"gpt1": GPT1, "gpt-neo": NEO}.get(name) or family_of(given.model, facts(given))


def reference(name: str) -> Any:
    """Transformers' model of the same shape."""
    given = config(name)
    shape = {
        "n_positions": POSITIONS,
        "n_embd": given.model.hidden_size,
        "n_layer": given.model.layers,
        "n_head": given.model.heads,
    }
    if name == "gpt1":
        settings = transformers.OpenAIGPTConfig(vocab_size=VOCABULARY, **shape)
        return transformers.OpenAIGPTLMHeadModel(settings).eval()
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
        return transformers.GPTNeoForCausalLM(settings).eval()
    written = family(name).write(given.model, facts(given))
    settings = transformers.AutoConfig.for_model(**written)
    model = getattr(transformers, written["architectures"][0])(settings).eval()
    if not given.model.tied_output:  # a T5 is built tied whatever its configuration says
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    if name == "switch":  # which has a copy of the words in each stack, and trains them apart
        model.encoder.embed_tokens = model.decoder.embed_tokens = model.shared
    return model


def filled(name: str) -> Any:
    """Transformers' model with the weights of ours."""
    model = reference(name)
    fill(model, whole_links(name), weights(name))
    return model


def named_there(path: str) -> str:
    """The name that transformers' class has in memory for a tensor of its files."""
    return path.replace("embed_out.", "lm_head.")


def by_expert(there: dict[str, Tensor], files: str) -> dict[str, Tensor]:
    """Tensors in memory as those of files: a matrix an expert, which `files` call otherwise in a Mixtral."""
    found: dict[str, Tensor] = {}
    for path, tensor in there.items():
        base, _, kind = path.rpartition(".experts.")
        if kind not in ("gate_up_proj", "down_proj"):
            found[path] = tensor
            continue
        for index, matrix in enumerate(tensor):
            parts = matrix.chunk(2) if kind == "gate_up_proj" else [matrix]
            names = ("gate_proj", "up_proj") if kind == "gate_up_proj" else (kind,)
            for one, part in zip(names, parts, strict=True):
                found[f"{base}.experts.{index}.{one}.weight"] = part
    if files != "mixtral":
        return found
    words = {".mlp.": ".block_sparse_moe.", "gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
    return {reduce(lambda path, one: path.replace(*one), words.items(), p): t for p, t in found.items()}


def fill_experts(model: Any, translated: dict[str, Tensor]) -> None:
    """Load names of files as transformers does, which puts the experts of a layer together."""
    with TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        save_file({path: one.contiguous() for path, one in translated.items()}, f"{folder}/model.safetensors")
        loaded, report = type(model).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    model.load_state_dict(loaded.state_dict())


def fill(model: Any, the_links: list[Link], weights: dict[str, Tensor]) -> None:
    """Load weights of ours, by name and whole, into transformers' model."""
    translated = {named_there(path): value for path, value in exported(the_links, weights.__getitem__)}
    if any(".experts." in path for path in translated):
        fill_experts(model, translated)
        return
    silent = {name for name in translated if name.endswith(("q_proj.bias", "k_proj.bias", "v_proj.bias"))}
    there = set(model.state_dict())
    missing, unexpected = model.load_state_dict(
        {name: value for name, value in translated.items() if name in there or name not in silent},
        strict=False,
    )
    assert not unexpected
    if "lm_head.weight" not in translated:
        model.tie_weights()
    tied = {*model.all_tied_weights_keys, "final_logits_bias", *COMPUTED}
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


def sentence_logits(outputs: Any) -> Tensor | None:
    """Those of a sentence task, where transformers' model has its head."""
    found = outputs.get("seq_relationship_logits")
    return outputs.get("sop_logits") if found is None else found


def whole_links(name: str) -> list[Link]:
    """The links of a reference model."""
    given = config(name)
    return links(family(name), given.model, facts(given), shapes(given, VOCABULARY))


def compare_gradients(name: str, ours: dict[str, Tensor], there: dict[str, Tensor]) -> None:
    """Ours by path within 1e-4 of the largest of each parameter of ours; `there` by transformers' names."""
    there = by_expert(there, family(name).model_type)
    for link in whole_links(name):
        paths = [named_there(path) for path in link.theirs]
        pairs = [
            (gradient.flatten(), there[path].flatten())
            for path, gradient in zip(paths, link.out([ours[one] for one in link.ours]), strict=True)
            if path in there
        ]
        assert pairs or name == "gpt-neo", link
        if pairs:
            found, wanted = (torch.cat(side) for side in zip(*pairs, strict=True))
            close(found, wanted, 1e-4, f"{name} {link.ours[0]}")


def close(found: Tensor, wanted: Tensor, tolerance: float, what: str) -> None:
    """Within a share of the largest value."""
    largest = float(wanted.abs().max())
    assert 0 < largest < float("inf"), what
    torch.testing.assert_close(
        found, wanted, rtol=0, atol=tolerance * largest, msg=lambda why: f"{what}: {why}"
    )
