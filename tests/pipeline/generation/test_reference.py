"""Texts equal transformers' on the same weights, token for token: greedy and beam search, prompts unequal.

The stops are tokens that the greedy texts have, so that rows and beams end at different times.
"""

from typing import Any

import pytest
import torch
import transformers

from pipeline.distributed import world
from pipeline.generation.beams import Beams, beam_search
from pipeline.generation.load import LoadedModel
from pipeline.generation.sampling import GREEDY, Sampling, generate
from pipeline.objectives.model import model_layers
from pipeline.parallel.stack import Stack
from tests.pipeline.conversion import references as ref
from tests.pipeline.generation.models import IDS, prompts
from tests.pipeline.generation.uncached import WithoutCache

TOKENS = 14
FAMILIES = ("gpt2", "opt", "opt-350m", "bloom", "falcon-7b", "falcon-40b", "llama2", "gpt-neo")
NEWER = ("pythia", "mistral", "olmo2", "gemma2", "gemma3", "smollm3")
BOTH = ("t5", "t5-1.1", "bart")
Pair = tuple[LoadedModel, Any]


def build(name: str) -> Pair:
    """Ours and transformers' model with the same weights."""
    device = world.start_alone().device
    given = ref.config(name)
    stack = Stack(model_layers(given, ref.VOCABULARY, torch.float32)).eval()
    named = dict(stack.named())
    with torch.no_grad():
        for one, parameter in named.items():
            weight = ref.weight(one, parameter.shape, name)
            # norms of any sign: else tied tables say the last token again and again
            gain = "norm" in one and one.endswith("weight")
            parameter.copy_(10 * (weight - 1) if gain else weight)
    model = ref.reference(name)
    whole = {one: parameter.detach() for one, parameter in named.items()}
    ref.fill(model, ref.whole_links(name), whole)
    IDS.size = ref.VOCABULARY
    return LoadedModel(given, IDS, device, stack, step=0), model


def some_prompts() -> list[list[int]]:
    """Of different lengths."""
    return [[4 + token % (ref.VOCABULARY - 4) for token in prompt] for prompt in prompts(4, 9, 1, 7)]


def theirs(model: Any, asked: list[list[int]], stops: list[int], **how: Any) -> list[list[int]]:
    """What transformers' `generate` says, without what stops it."""
    width = max(map(len, asked))
    both = model.config.is_encoder_decoder
    padded = [
        [*row, *[0] * (width - len(row))] if both else [*[0] * (width - len(row)), *row] for row in asked
    ]
    real = [[*[1] * len(row), *[0] * (width - len(row))] for row in asked]
    mask = torch.tensor(real) if both else torch.tensor(real).flip(1)
    given = {"eos_token_id": stops, "pad_token_id": 0}
    if both:
        given["decoder_start_token_id"] = 0 if model.config.model_type == "t5" else IDS.eos
    model.generation_config = transformers.GenerationConfig(**given)
    outputs = model.generate(
        torch.tensor(padded), attention_mask=mask, max_new_tokens=TOKENS, do_sample=False, **how
    )
    new = outputs[:, 1 if both else width :].tolist()
    ends = [next((i for i, token in enumerate(row) if token in stops), len(row)) for row in new]
    return [row[:end] for row, end in zip(new, ends, strict=True)]


@pytest.mark.parametrize("name", [*FAMILIES, *NEWER, *BOTH])
def test_texts_equal_transformers(name: str) -> None:
    model, reference = build(name)
    asked = some_prompts()
    free = generate(model, asked, TOKENS)
    assert free == theirs(reference, asked, [299])
    stops = [free[0][5], free[1][9]]
    stopped = generate(model, asked, TOKENS, stop_ids=stops)
    assert stopped == theirs(reference, asked, stops)
    assert len(set(map(len, stopped))) > 1
    assert len({token for text in free for token in text}) > 7
    for beams in (Beams(4), Beams(3, 0.0), Beams(2, 2.0)):
        found = beam_search(model, asked, TOKENS, beams, stops)
        how = {"num_beams": beams.count, "length_penalty": beams.length_penalty}
        assert found == theirs(reference, asked, stops, **how), beams


@pytest.mark.parametrize("name", ["falcon-40b", "gpt-neo", "t5", "bart"])
def test_texts_are_those_of_no_cache(name: str) -> None:
    """Drawn texts too, and past what a decoder sees at once."""
    cached, _ = build(name)
    plain, asked, more = WithoutCache(cached), some_prompts(), 3 * ref.LENGTH
    for sampling in (GREEDY, Sampling(top_p=0.9, seed=1)):
        texts = generate(cached, asked, more, sampling, {7})
        assert texts == generate(plain, asked, more, sampling, {7})
        assert max(map(len, texts)) == (ref.LENGTH if name in BOTH else more)
    assert beam_search(cached, asked, TOKENS, Beams(3)) == beam_search(plain, asked, TOKENS, Beams(3))
